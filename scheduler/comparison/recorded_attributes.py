"""Recorded attributes of runs that may change without changing the cell's identity."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from velodrome.scheduler.results.detail_rows import NodeRow
from velodrome.scheduler.results.typed_rows import TaskRow
from velodrome.scheduler.statistics.canary_attribution import ChangeSource


class Realm(Enum):
    """The realm to which a cause belongs."""

    SOFTWARE = ChangeSource.FRAMEWORK
    MACHINE = ChangeSource.MACHINE
    TOOL = ChangeSource.UNKNOWN  # Velodrome itself is software and agent


@dataclass(frozen=True)
class Attribute:
    """A recorded attribute. read: gets it from a run's row and its node's; empty: unknown."""

    name: str
    realm: Realm
    read: Callable[[TaskRow, NodeRow | None], str]
    comes_with: tuple[str, ...] = ()  # subjects of which it is a part
    is_by_framework: bool = False
    is_of_chance: bool = False  # which machine it was: a common part is no change
    is_setting: bool = True  # False: an event during the run


def _task(column: str) -> Callable[[TaskRow, NodeRow | None], str]:
    return lambda row, node: row.text(column)


def _node(column: str) -> Callable[[TaskRow, NodeRow | None], str]:
    return lambda row, node: node.text(column) if node else ""


def _gpu(field: str) -> Callable[[TaskRow, NodeRow | None], str]:
    def read(row: TaskRow, node: NodeRow | None) -> str:
        """Join a field of the GPUs that the task ran on, or of its node's if unknown."""
        gpus = node.gpus if node and row.device == "gpu" else ()
        used = [gpu for gpu in gpus if not row.gpu_uuids or gpu.get("uuid") in row.gpu_uuids]
        return ", ".join(sorted({str(gpu.get(field) or "") for gpu in used} - {""}))

    return read


def _read_machine(row: TaskRow, node: NodeRow | None) -> str:
    return row.hostname or row.node_id


def _read_gpus(row: TaskRow, node: NodeRow | None) -> str:
    return ", ".join(row.gpu_uuids)


def _read_interference(row: TaskRow, node: NodeRow | None) -> str:
    is_free = row.interference_free
    return "" if is_free is None else "none" if is_free else "detected"


def _read_kernels(row: TaskRow, node: NodeRow | None) -> str:
    return ", ".join(row.kernels)


def _read_notes(row: TaskRow, node: NodeRow | None) -> str:
    return "; ".join(row.notes) or "none"


_MACHINES = ("node_type", "cpu_model", "gpu_name", "gpu_model", "node_id", "hostname", "device")
_OTHER_FRAMEWORK = ("framework",)
_OTHER_VERSION = ("framework", "framework_version")

# The attributes that affect a time most come first.
ATTRIBUTES = (
    Attribute(
        "version", Realm.SOFTWARE, _task("framework_version"), _OTHER_VERSION, is_by_framework=True
    ),
    Attribute(
        "environment",
        Realm.SOFTWARE,
        _task("environment_hash"),
        (*_OTHER_VERSION, "environment_hash"),
        is_by_framework=True,
    ),
    Attribute(
        "BLAS kernels",
        Realm.SOFTWARE,
        _read_kernels,
        (*_OTHER_VERSION, "environment_hash", "variant", *_MACHINES),
        is_by_framework=True,
    ),
    Attribute("GPU driver", Realm.MACHINE, _gpu("driver"), _MACHINES),
    Attribute("GPU power limit", Realm.MACHINE, _gpu("power_limit_w"), _MACHINES),
    Attribute("CPU governor", Realm.MACHINE, _node("governor"), _MACHINES),
    Attribute("interference", Realm.MACHINE, _read_interference, is_setting=False),
    Attribute("node", Realm.MACHINE, _read_machine, _MACHINES, is_of_chance=True),
    Attribute("GPU", Realm.MACHINE, _read_gpus, _MACHINES, is_of_chance=True),
    Attribute("kernel", Realm.MACHINE, _node("kernel"), _MACHINES),
    Attribute("virtualization", Realm.MACHINE, _node("virtualization"), _MACHINES),
    Attribute("Velodrome", Realm.TOOL, _task("velodrome_version"), ("velodrome_version",)),
    Attribute("batch size", Realm.SOFTWARE, _task("batch_size"), ("batch_size",)),
    Attribute(
        "notes",
        Realm.SOFTWARE,
        _read_notes,
        (*_OTHER_FRAMEWORK, "variant", "device"),
        is_by_framework=True,
    ),
    Attribute("Ray", Realm.TOOL, _node("ray_version"), _MACHINES),
    Attribute("agent's Python", Realm.TOOL, _node("python_version"), _MACHINES),
)
