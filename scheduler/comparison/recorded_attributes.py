"""Recorded attributes of runs that may change without changing the cell's identity."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from velodrome.scheduler.comparison.fingerprints import told
from velodrome.scheduler.reports.task_rows import Row, read_kernels, read_notes
from velodrome.scheduler.results.sanitizing import in_one_line
from velodrome.scheduler.statistics.canary_attribution import Cause as Blamed


class Realm(Enum):
    """The realm to which a cause belongs."""

    SOFTWARE = Blamed.FRAMEWORK
    MACHINE = Blamed.MACHINE
    TOOL = Blamed.UNKNOWN  # Velodrome itself is on both sides of that border


@dataclass(frozen=True)
class Attribute:
    """A recorded attribute. read: gets it from a run's row and its node's; empty: unknown."""

    name: str
    realm: Realm
    read: Callable[[Row, Row], str]
    comes_with: tuple[str, ...] = ()  # subjects of which it is a part
    is_by_framework: bool = False
    is_of_chance: bool = False  # which machine it was: a part in common is no change
    is_setting: bool = True  # and not something that befell the run


def _task(column: str) -> Callable[[Row, Row], str]:
    return lambda row, node: told(row, column)


def _node(column: str) -> Callable[[Row, Row], str]:
    return lambda row, node: told(node, column)


def _gpu(field: str) -> Callable[[Row, Row], str]:
    def read(row: Row, node: Row) -> str:
        """Of the GPUs that the task ran on; of all of its node's where that is not known."""
        uuids, gpus = row.get("gpu_uuids"), node.get("gpus")
        if row.get("device") != "gpu" or not isinstance(gpus, list):
            return ""
        used = [gpu for gpu in gpus if not uuids or gpu.get("uuid") in _as_list(uuids)]
        return ", ".join(sorted({in_one_line(gpu.get(field)) for gpu in used} - {""}))

    return read


def _as_list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _machine(row: Row, node: Row) -> str:
    return in_one_line(row.get("hostname") or row.get("node_id"))


def _gpus(row: Row, node: Row) -> str:
    return ", ".join(in_one_line(uuid) for uuid in _as_list(row.get("gpu_uuids")))


def _disturbance(row: Row, node: Row) -> str:
    is_free = row.get("interference_free")
    return "" if is_free is None else "interference-free" if is_free else "interference"


def _kernels(row: Row, node: Row) -> str:
    return ", ".join(read_kernels(row))


def _notes(row: Row, node: Row) -> str:
    return "; ".join(read_notes(row)) or "none"


_MACHINES = ("node_type", "cpu_model", "gpu_name", "gpu_model", "node_id", "hostname", "device")
_OTHER_FRAMEWORK = ("framework",)
_OTHER_VERSION = ("framework", "framework_version")

# What is nearest to the number first.
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
        _kernels,
        (*_OTHER_VERSION, "environment_hash", "variant", *_MACHINES),
        is_by_framework=True,
    ),
    Attribute("GPU driver", Realm.MACHINE, _gpu("driver"), _MACHINES),
    Attribute("GPU power limit", Realm.MACHINE, _gpu("power_limit_w"), _MACHINES),
    Attribute("CPU governor", Realm.MACHINE, _node("governor"), _MACHINES),
    Attribute("the runs were", Realm.MACHINE, _disturbance, is_setting=False),
    Attribute("node", Realm.MACHINE, _machine, _MACHINES, is_of_chance=True),
    Attribute("GPU", Realm.MACHINE, _gpus, _MACHINES, is_of_chance=True),
    Attribute("kernel", Realm.MACHINE, _node("kernel"), _MACHINES),
    Attribute("virtualization", Realm.MACHINE, _node("virtualization"), _MACHINES),
    Attribute("Velodrome", Realm.TOOL, _task("velodrome_version"), ("velodrome_version",)),
    Attribute(
        "notes",
        Realm.SOFTWARE,
        _notes,
        (*_OTHER_FRAMEWORK, "variant", "device"),
        is_by_framework=True,
    ),
    Attribute("Ray", Realm.TOOL, _node("ray_version"), _MACHINES),
    Attribute("agent's Python", Realm.TOOL, _node("python_version"), _MACHINES),
)
