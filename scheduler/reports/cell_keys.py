"""Keys of a report: the platform, workload and implementation that a row of `tasks` belongs to."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from velodrome.adapters.models import MODELS
from velodrome.adapters.registry import FRAMEWORKS
from velodrome.adapters.tolerances import DTYPES
from velodrome.agents.environments.versions import split
from velodrome.agents.task import USUAL_DTYPE, batch_size_name, count_devices, device_name
from velodrome.scheduler.disambiguation import make_distinct
from velodrome.scheduler.results.typed_rows import TaskRow

Qualifiers = Mapping[str, str]  # by task
NO_QUALIFIERS: Qualifiers = {}


@dataclass(frozen=True)
class Platform:
    """The node type, device, threads and dtype that all cells of one table share.

    gpu_count, gpu_model: as requested by the task. processes: as in CellKey. threads: of each
    device.
    """

    node_type: str
    hardware: str
    device: str
    threads: int
    dtype: str
    gpu_count: int = 0
    gpu_model: str = ""
    processes: int = 1
    nodes: int = 1

    @property
    def devices(self) -> int:
        """Return how many share each batch, on all nodes together."""
        return count_devices(self.device, self.gpu_count, self.processes, self.nodes)

    @property
    def total_threads(self) -> int:
        """Cores of the task on its node, or on each of its nodes."""
        return self.threads * self.devices // self.nodes

    @property
    def device_name(self) -> str:
        return device_name(self.device, self.devices, self.gpu_model, self.nodes)

    @property
    def device_and_dtype(self) -> str:
        """The device, with the precision unless it is float32: `cpu bfloat16`."""
        unusual = self.dtype if self.dtype != USUAL_DTYPE else ""
        return f"{self.device_name} {unusual}".rstrip()


@dataclass(frozen=True, order=True)
class Implementation:
    """A variant of a framework. qualifier: the setting that distinguishes tasks of one name."""

    framework: str
    variant: str
    qualifier: str = ""

    @property
    def label(self) -> str:
        return f"{self.framework} {self.variant}{self.qualifier}"


@dataclass(frozen=True, order=True)
class Workload:
    """One model at one batch size. rule: `auto` if the node found it."""

    model: str
    batch_size: int
    rule: str = ""

    @property
    def label(self) -> str:
        return f"{self.model} {batch_size_name(self.batch_size, self.rule)}"


def read_platform(row: TaskRow) -> Platform:
    where = (row.node_type, row.hardware, row.device, row.threads, row.dtype)
    counts = (row.process_count, row.node_count)
    return Platform(*where, row.gpu_count or 0, row.gpu_model, *counts)


def read_workload(row: TaskRow) -> Workload:
    return Workload(row.model, row.batch_size, row.batch_size_rule)


def read_implementation(row: TaskRow, qualifiers: Qualifiers = NO_QUALIFIERS) -> Implementation:
    return Implementation(row.framework, row.variant, qualifiers.get(row.task_id, ""))


def platform_order(platform: Platform) -> tuple[object, ...]:
    """Sort key: precisions of one device lie together, in the order of DTYPES."""
    where = (platform.node_type, platform.hardware, platform.device, platform.threads)
    place = DTYPES.index(platform.dtype) if platform.dtype in DTYPES else len(DTYPES)
    devices = (platform.gpu_count, platform.gpu_model, platform.processes, platform.nodes)
    return *where, *devices, place, platform.dtype


def workload_order(workload: Workload) -> tuple[int, str, int, str]:
    """Sort key: the model zoo's order, then the batch size."""
    models = list(MODELS)
    place = models.index(workload.model) if workload.model in models else len(models)
    return place, workload.model, workload.batch_size, workload.rule


def implementation_order(impl: Implementation) -> tuple[int, str, int, str, str]:
    """Sort key: the registry's order, default variant first, other versions of a framework last."""
    name, version = split(impl.framework)
    frameworks = list(FRAMEWORKS)
    place = frameworks.index(name) if name in frameworks else len(frameworks)
    variants = FRAMEWORKS[name].variants if name in frameworks else ()
    rank = variants.index(impl.variant) if impl.variant in variants else len(variants)
    return place, f"{name} {version}", rank, impl.variant, impl.qualifier


def find_qualifiers(rows: Iterable[TaskRow]) -> Qualifiers:
    """Find a qualifier for each task that shares a cell with others.

    This happens, for example, if a sweep was resumed with other lock files.
    """
    tasks: dict[tuple[Platform, Workload, Implementation], dict[str, TaskRow]] = {}
    for row in rows:
        key = (read_platform(row), read_workload(row), read_implementation(row))
        tasks.setdefault(key, {}).setdefault(row.task_id, row)
    qualifiers: dict[str, str] = {}
    for rows_by_task in (same_name for same_name in tasks.values() if len(same_name) > 1):
        names = make_distinct(
            dict.fromkeys(rows_by_task, ""),
            {key: _list_settings(rows_by_task[key]) for key in rows_by_task},
        )
        qualifiers |= make_distinct(names, {key: {"task": key} for key in rows_by_task})
    return qualifiers


def _list_settings(row: TaskRow) -> dict[str, str]:
    """List the other settings in which tasks may differ."""
    found = {
        "seed": row.seed,
        "exclusive": row.exclusive,
        "environment": row.environment_hash,
        "phases": " ".join(row.phases),
        "optimizer": row.optimizer,
    }
    return {name: str(value or "") for name, value in found.items()}
