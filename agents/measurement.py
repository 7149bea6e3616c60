"""What one task cost on one node, or the typed reason why not."""

from dataclasses import dataclass, field
from enum import StrEnum

from velodrome.adapters.protocol import ParameterError, Timed, Verified
from velodrome.agents.task import Task


class Status(StrEnum):
    """How a task ended. `ok` and `unstable` carry a number, every other a reason."""

    OK = "ok"
    UNSTABLE = "unstable"
    DISAGREED = "disagreed"
    UNSUPPORTED = "unsupported"
    ENVIRONMENT_FAILED = "environment_failed"
    OUT_OF_MEMORY = "out_of_memory"
    TIMED_OUT = "timed_out"
    CRASHED = "crashed"
    LOST = "lost"
    UNPLACEABLE = "unplaceable"

    @property
    def has_number(self) -> bool:
        return self in (Status.OK, Status.UNSTABLE)


@dataclass(frozen=True)
class Sample:
    """One timed sample: `calls` calls in a row. ns of CLOCK_MONOTONIC on the node."""

    phase: str
    index: int
    calls: int
    started_ns: int
    elapsed_ns: int


@dataclass(frozen=True)
class GpuReading:
    """One GPU at one instant. None: the driver does not say."""

    index: int
    uuid: str
    percent: float | None = None
    memory_percent: float | None = None
    memory_bytes: int | None = None
    process_memory_bytes: int | None = None
    power_w: float | None = None
    energy_mj: int | None = None
    temperature_c: float | None = None
    sm_mhz: int | None = None
    throttle_reasons: int | None = None


@dataclass(frozen=True)
class Reading:
    """One sampling instant, of the worker's tree and of the node. None: the kernel does not say.

    cpu_percent: of one core, over the interval that ends here; 200 is two cores busy.
    node_cpu_percent: of all the node's cores together. Counters are totals since the start.
    """

    at_ns: int
    phase: str
    cpu_percent: float
    rss_bytes: int
    threads: int
    context_switches: int | None = None
    read_bytes: int | None = None
    written_bytes: int | None = None
    node_cpu_percent: float | None = None
    cpu_mhz: float | None = None
    pressure_percent: float | None = None
    gpus: tuple[GpuReading, ...] = ()
    package_energy_uj: int | None = None  # of all sockets (RAPL), since sampling began


@dataclass(frozen=True)
class Measurement:
    """One attempt of one task. Fields that were not reached are None; nothing is made up."""

    task: Task
    repeat: int
    attempt: int
    status: Status
    reason: str
    node_id: str
    hostname: str
    node_type: str
    started_at: float  # seconds since the epoch
    finished_at: float
    log_tail: str = ""
    rerun: str = ""
    framework_version: str = ""
    cpu_model: str = ""
    gpu_name: str = ""
    gpu_uuids: tuple[str, ...] = ()  # of the GPUs that it had to itself
    provision_ns: int | None = None  # from taking the task to its worker's start
    import_ns: int | None = None
    build_ns: int | None = None
    transfer_ns: int | None = None
    first_call_ns: int | None = None
    forward: Timed | None = None
    gradient: Timed | None = None
    verified: Verified | None = None
    loss_error: float | None = None  # also when it disagreed
    gradient_error: float | None = None
    parameters: tuple[ParameterError, ...] = ()
    samples: tuple[Sample, ...] = ()
    readings: tuple[Reading, ...] = ()
    peak_rss_bytes: int | None = None
    peak_gpu_memory_bytes: int | None = None
    energy_j: float | None = None
    energy_source: str = "unavailable"  # `measured`, `estimated` or `unavailable`
    quiet: bool | None = None
    disturbed_by: str = ""
    canary_model: str = ""  # what ran before and after: model, framework and its version
    canary_before_ns: float | None = None
    canary_after_ns: float | None = None
    environment_hash: str = ""
    notes: tuple[str, ...] = field(default=())
