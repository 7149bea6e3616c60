"""The measurement of one task on one node, or the typed reason why there is none."""

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any, NamedTuple

from velodrome.adapters.protocol import (
    TIMED_PHASES,
    Checked,
    ParameterError,
    Timed,
    Verified,
)
from velodrome.agents.phases import find_decisive
from velodrome.agents.sampling.top_processes import TopProcess
from velodrome.agents.task import Task


class Status(StrEnum):
    """The end of a task. `ok` and `unstable` have a number, all others a reason."""

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

    @property
    def is_final(self) -> bool:
        """True if the task itself caused this end, not its fleet or node."""
        return self not in (Status.LOST, Status.ENVIRONMENT_FAILED, Status.UNPLACEABLE)


class EndOrigin(IntEnum):
    """Origin of the end of a process of a group, the surest first.

    OWN: in itself, by a signal, a limit or a wrong result. ERROR: an exception, an exit or an
    abort, which a collective operation also gives if another process is gone. PEER: in another.
    """

    OWN = 0
    ERROR = 1
    PEER = 2


@dataclass(frozen=True)
class Sample:
    """One timed sample: `calls` calls in a row. ns of CLOCK_MONOTONIC on the node."""

    phase: str
    index: int
    calls: int
    started_ns: int
    elapsed_ns: int


class GpuProcess(NamedTuple):
    """A process on a GPU. name: the kernel's, at most 15 bytes; empty if it has ended."""

    pid: int
    name: str
    memory_bytes: int | None


@dataclass(frozen=True)
class GpuReading:
    """One GPU or MIG instance at one instant. None: not stated, or not at this instant.

    other_processes: compute processes that are not the task's. lost: it no longer answers.
    """

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
    other_processes: tuple[GpuProcess, ...] | None = None
    lost: bool = False

    @classmethod
    def from_fields(cls, fields: dict[str, Any]) -> "GpuReading":
        """Restore from JSON fields."""
        entries = fields["other_processes"]
        processes = None if entries is None else tuple(GpuProcess(*entry) for entry in entries)
        return cls(**{**fields, "other_processes": processes})


@dataclass(frozen=True)
class Reading:
    """One sampling instant of the worker's tree and the node. None: unknown.

    Percentages are of one core, over the interval that ends here, since the figure was last known;
    200 is two busy cores. But node_cpu_percent is of all the node's cores together, and
    steal_percent of the task's cores (with their SMT siblings) together. other_cpu_percent: others'
    work on the task's cores; the kernel's ticks are coarse, so single values may be off by 10
    either way, and below 0. interrupt_percent: its part in interrupts. other_cores_percent: all
    work on the node's other cores. Counters are totals since the start; quota_us,
    thermal_throttles: see velodrome.agents.sampling.stall_counters.
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
    other_cpu_percent: float | None = None
    interrupt_percent: float | None = None
    steal_percent: float | None = None
    other_cores_percent: float | None = None
    memory_pressure_percent: float | None = None  # of the time, some process waited for memory
    quota_us: int | None = None
    thermal_throttles: int | None = None
    swapped_in_pages: int | None = None
    top_processes: tuple[TopProcess, ...] = ()  # possible sources of others' CPU use


@dataclass(frozen=True)
class PhaseEnergy:
    """The energy of one call of a timed phase, in joules."""

    phase: str
    per_call_j: float


@dataclass(frozen=True)
class PhaseMeans:
    """Means over one timed phase. None: unknown, also if unknown for one GPU of several.

    cpu_percent: of one core. GPU percentages and clock are means over the task's GPUs, power is
    their sum.
    """

    phase: str
    cpu_percent: float | None = None
    gpu_percent: float | None = None
    gpu_memory_percent: float | None = None
    gpu_power_w: float | None = None
    sm_mhz: float | None = None


class NodePrice(NamedTuple):
    """The price of a node per hour, and of the share of it that a task occupies."""

    node_per_hour: float
    task_per_hour: float
    currency: str = ""


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
    gpu_uuids: tuple[str, ...] = ()  # of its own GPUs
    gpu_compute_capability: str = ""
    gpu_numa_nodes: tuple[int | None, ...] = ()  # in the order of gpu_uuids
    partner_node_ids: tuple[str, ...] = ()  # the other nodes of a task on several
    partner_hostnames: tuple[str, ...] = ()
    waited_ns: int | None = None  # until its cores and GPUs were free
    provision_ns: int | None = None  # from taking the task to its worker's start
    import_ns: int | None = None
    build_ns: int | None = None
    transfer_ns: int | None = None
    first_call_ns: int | None = None
    forward: Timed | None = None
    gradient: Timed | None = None
    inference: Timed | None = None
    update: Timed | None = None
    step: Timed | None = None
    load: Timed | None = None
    prefetched_load: Timed | None = None
    fed_gradient: Timed | None = None
    verified: Verified | None = None
    checks: tuple[Checked, ...] = ()  # of the timed work, in the order of the phases
    loss_error: float | None = None  # also when it disagreed
    gradient_error: float | None = None
    parameters: tuple[ParameterError, ...] = ()
    samples: tuple[Sample, ...] = ()
    readings: tuple[Reading, ...] = ()
    peak_rss_bytes: int | None = None
    sampling_cpu_s: float | None = None  # CPU time of its sampler, the start included
    peak_gpu_memory_bytes: int | None = None
    energy_j: float | None = None
    energy_source: str = "unavailable"  # `measured`, `estimated` or `unavailable`
    energy_reason: str = ""  # why it is not measured
    energies: tuple[PhaseEnergy, ...] = ()  # of phases long enough for the same meters
    energy_deviation_percent: float | None = None  # of integrated power, above the counter
    peak_gpu_process_memory_bytes: int | None = None  # of its own processes, by the driver
    means: tuple[PhaseMeans, ...] = ()
    partner_means: tuple[tuple[PhaseMeans, ...], ...] = ()  # of each of partner_node_ids
    vendor_peak_flops_per_s: float | None = None  # dense, of its GPUs or cores, in its precision
    vendor_peak_source: str = ""
    vendor_peak_reason: str = ""  # why it is unknown
    price: NodePrice | None = None
    interference_free: bool | None = None
    interference: str = ""
    minor_interference: str = ""  # below the thresholds
    other_cpu_percent_mean: float | None = (
        None  # these three: means while it was timed, as in Reading
    )
    steal_percent_mean: float | None = None
    other_cores_percent_mean: float | None = None
    canary_model: str = ""  # model, framework and version
    canary_before_ns: float | None = None
    canary_after_ns: float | None = None
    environment_hash: str = ""
    kernels: tuple[str, ...] = ()  # of linear algebra (velodrome.adapters.worker.kernels)
    notes: tuple[str, ...] = field(default=())
    origin: EndOrigin = EndOrigin.OWN  # no column: it decides between the nodes of a group

    def energy_per_call_j(self, phase: str) -> float | None:
        """Return the energy of one call of a phase, None if it is not known."""
        return next((one.per_call_j for one in self.energies if one.phase == phase), None)

    @property
    def times(self) -> dict[str, Timed]:
        """The timings by phase, in the order of the phases."""
        found: dict[str, Timed | None] = {phase: getattr(self, phase) for phase in TIMED_PHASES}
        return {phase: timed for phase, timed in found.items() if timed is not None}

    @property
    def decisive(self) -> Timed | None:
        """The timing of the decisive phase, None without any."""
        times = self.times
        return times.get(find_decisive(times))
