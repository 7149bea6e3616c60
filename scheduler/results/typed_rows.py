"""Rows of `tasks` as frozen objects with typed attributes."""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Self

import pyarrow as pa

from velodrome.adapters.protocol import TIMED_PHASES
from velodrome.agents.measurement import Status
from velodrome.agents.phases import find_decisive
from velodrome.agents.task import Task, count_devices
from velodrome.scheduler.results.row_conversion import Note, RawText, Struct, TypedRow, make_rows
from velodrome.scheduler.statistics.canary_attribution import CanaryRun


class CellKey(NamedTuple):
    """The identity of a cell: all that a sweep asks for, without the node.

    batch_size is 0 where batch_size_rule says `auto`: the node finds it, and may find another.
    threads: of each process or GPU. processes: on a CPU, that share each batch; 0 in rows of
    earlier versions with several GPUs, of which one computed.
    """

    framework: str
    variant: str
    model: str
    batch_size: int
    device: str
    threads: int
    dtype: str
    gpu_count: int
    gpu_model: str
    batch_size_rule: str = ""
    processes: int = 1
    nodes: int = 1

    @property
    def devices(self) -> int:
        return count_devices(self.device, self.gpu_count, self.processes, self.nodes)

    @classmethod
    def of(cls, task: "Task | TaskRow") -> Self:
        """Return the key of a planned or measured task. No GPU count is a count of 0."""
        return cls(
            task.framework,
            task.variant,
            task.model,
            0 if task.batch_size_rule else task.batch_size,
            task.device,
            task.threads,
            task.dtype,
            task.gpu_count or 0,
            task.gpu_model,
            task.batch_size_rule,
            task.processes if isinstance(task, Task) else task.process_count,
            task.nodes if isinstance(task, Task) else task.node_count,
        )


@dataclass(frozen=True, slots=True, init=False, eq=False, repr=False)
class TaskRow(TypedRow):
    """A row of `tasks`."""

    sweep_id: str
    task_id: str
    repeat: int
    attempt: int
    status: Status
    reason: str
    expected: str
    expected_reason: str
    unexpected: bool | None
    log_tail: RawText
    rerun: str
    framework: str
    framework_version: str
    variant: str
    model: str
    batch_size: int
    batch_size_rule: str
    device: str
    processes: int | None
    nodes: int | None
    threads: int
    dtype: str
    phases: tuple[str, ...]
    optimizer: str
    node_id: str
    hostname: str
    partner_node_ids: tuple[str, ...]
    partner_hostnames: tuple[str, ...]
    node_type: str
    cpu_model: str
    gpu_name: str
    gpu_count: int | None
    gpu_model: str
    gpu_uuids: tuple[str, ...]
    gpu_compute_capability: str
    gpu_numa_nodes: tuple[int | None, ...]
    started_at: datetime | None
    finished_at: datetime | None
    waited_ns: int | None
    provision_ns: int | None
    import_ns: int | None
    build_ns: int | None
    transfer_ns: int | None
    first_call_ns: int | None
    time_to_first_step_ns: int | None
    forward_median_ns: float | None
    forward_low_ns: float | None
    forward_high_ns: float | None
    forward_samples: int | None
    forward_stop_reason: str
    forward_stable: bool | None
    gradient_median_ns: float | None
    gradient_low_ns: float | None
    gradient_high_ns: float | None
    gradient_samples: int | None
    stop_reason: str
    stable: bool | None
    warm_up_converged: bool | None
    forward_instability: str
    gradient_instability: str
    forward_drift: float | None
    gradient_drift: float | None
    forward_p95_ns: float | None
    forward_p99_ns: float | None
    gradient_p95_ns: float | None
    gradient_p99_ns: float | None
    inference_median_ns: float | None
    inference_low_ns: float | None
    inference_high_ns: float | None
    inference_samples: int | None
    inference_stop_reason: str
    inference_stable: bool | None
    inference_instability: str
    inference_drift: float | None
    inference_p95_ns: float | None
    inference_p99_ns: float | None
    update_median_ns: float | None
    update_low_ns: float | None
    update_high_ns: float | None
    update_samples: int | None
    update_stop_reason: str
    update_stable: bool | None
    update_instability: str
    update_drift: float | None
    update_p95_ns: float | None
    update_p99_ns: float | None
    step_median_ns: float | None
    step_low_ns: float | None
    step_high_ns: float | None
    step_samples: int | None
    step_stop_reason: str
    step_stable: bool | None
    step_instability: str
    step_drift: float | None
    step_p95_ns: float | None
    step_p99_ns: float | None
    load_median_ns: float | None
    load_low_ns: float | None
    load_high_ns: float | None
    load_samples: int | None
    load_stop_reason: str
    load_stable: bool | None
    load_instability: str
    load_drift: float | None
    load_p95_ns: float | None
    load_p99_ns: float | None
    prefetched_load_median_ns: float | None
    prefetched_load_low_ns: float | None
    prefetched_load_high_ns: float | None
    prefetched_load_samples: int | None
    prefetched_load_stop_reason: str
    prefetched_load_stable: bool | None
    prefetched_load_instability: str
    prefetched_load_drift: float | None
    prefetched_load_p95_ns: float | None
    prefetched_load_p99_ns: float | None
    fed_gradient_median_ns: float | None
    fed_gradient_low_ns: float | None
    fed_gradient_high_ns: float | None
    fed_gradient_samples: int | None
    fed_gradient_stop_reason: str
    fed_gradient_stable: bool | None
    fed_gradient_instability: str
    fed_gradient_drift: float | None
    fed_gradient_p95_ns: float | None
    fed_gradient_p99_ns: float | None
    hidden_load_share: float | None
    loss_error: float | None
    gradient_error: float | None
    verified: bool | None
    verified_against: str
    proved: tuple[str, ...]
    unproved: tuple[str, ...]
    checks: tuple[Struct, ...]
    parameters: int | None
    model_hash: str
    forward_flops: float | None
    gradient_flops: float | None
    inference_flops: float | None
    step_flops: float | None
    loaded_bytes: int | None
    tokens: float | None
    ceiling_flops_per_s: float | None
    ceiling_source: str
    gradient_efficiency: float | None
    vendor_peak_flops_per_s: float | None
    vendor_peak_source: str
    vendor_peak_reason: str
    node_price_per_hour: float | None
    task_price_per_hour: float | None
    price_currency: str
    cpu_percent_mean: float | None
    peak_rss_bytes: int | None
    gpu_percent_mean: float | None
    peak_gpu_memory_bytes: int | None
    energy_j: float | None
    energy_source: str
    energy_reason: str
    energy_per_gradient_j: float | None
    energy_per_forward_j: float | None
    energy_per_inference_j: float | None
    energy_per_update_j: float | None
    energy_per_step_j: float | None
    energy_per_load_j: float | None
    energy_per_prefetched_load_j: float | None
    energy_per_fed_gradient_j: float | None
    energy_deviation_percent: float | None
    peak_gpu_process_memory_bytes: int | None
    forward_cpu_percent_mean: float | None
    forward_gpu_percent_mean: float | None
    forward_gpu_memory_percent_mean: float | None
    forward_gpu_power_w_mean: float | None
    forward_sm_mhz_mean: float | None
    gradient_cpu_percent_mean: float | None
    gradient_gpu_percent_mean: float | None
    gradient_gpu_memory_percent_mean: float | None
    gradient_gpu_power_w_mean: float | None
    gradient_sm_mhz_mean: float | None
    partner_forward_cpu_percent_means: tuple[float | None, ...]
    partner_forward_gpu_percent_means: tuple[float | None, ...]
    partner_gradient_cpu_percent_means: tuple[float | None, ...]
    partner_gradient_gpu_percent_means: tuple[float | None, ...]
    interference_free: bool | None
    interference: str
    minor_interference: str
    other_cpu_percent_mean: float | None
    other_cores_percent_mean: float | None
    steal_percent_mean: float | None
    sampling_cpu_s: float | None
    canary_model: str
    canary_before_ns: float | None
    canary_after_ns: float | None
    exclusive: bool | None
    kernels: tuple[str, ...]
    notes: tuple[Note, ...]
    environment_hash: str
    seed: int | None
    velodrome_version: str

    @property
    def has_number(self) -> bool:
        return self.status.has_number

    @property
    def hardware(self) -> str:
        """The name of the GPU or CPU that it computed on."""
        return self.gpu_name if self.device == "gpu" else self.cpu_model

    @property
    def process_count(self) -> int:
        """Processes on a CPU that share each batch; 1 on GPUs, see CellKey."""
        if self.processes is not None:
            return self.processes
        return 0 if (self.gpu_count or 0) > 1 else 1

    @property
    def node_count(self) -> int:
        """Nodes that share each batch."""
        return self.nodes or 1

    @property
    def devices(self) -> int:
        """GPUs, or processes on CPUs, that share each batch."""
        on_node = (self.gpu_count or 0) if self.device == "gpu" else self.process_count
        return on_node * self.node_count

    @property
    def own_gpus(self) -> tuple[str, ...]:
        """UUIDs of the GPUs that it had to itself; none on a CPU."""
        return self.gpu_uuids if self.device == "gpu" else ()

    @property
    def canaries_ns(self) -> tuple[float, ...]:
        """Times of the canary before and after it, as far as there are any."""
        return tuple(ns for ns in (self.canary_before_ns, self.canary_after_ns) if ns is not None)

    @property
    def timed(self) -> tuple[str, ...]:
        """The phases that have a time, in their order."""
        return tuple(phase for phase in TIMED_PHASES if self.ns(phase) is not None)

    @property
    def decisive(self) -> str:
        """The decisive phase of those that have a time; empty without any."""
        return find_decisive(self.timed)

    def canary_run(self, phase: str) -> CanaryRun:
        """Return the time of a phase with those of the canaries around it."""
        return CanaryRun(self.ns(phase), self.canary_model, self.canaries_ns)

    def ns(self, phase: str, bound: str = "median") -> float | None:
        """Return the median, `low` or `high` time of a phase, in ns per call."""
        value: float | None = getattr(self, f"{phase}_{bound}_ns")
        return value


def task_rows(table: pa.Table) -> list[TaskRow]:
    """Make rows of the columns that a table has."""
    return make_rows(TaskRow, table)
