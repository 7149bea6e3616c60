"""Keys of a report: the platform, workload and implementation that a row of `tasks` belongs to."""

from collections.abc import Sequence
from dataclasses import dataclass

from velodrome.agents.task import device_name
from velodrome.scheduler.distinct_names import make_distinct
from velodrome.scheduler.reports.task_rows import Row
from velodrome.scheduler.results.sanitizing import in_one_line

QUALIFIER = "qualifier"  # a key that add_qualifiers puts into rows; no column of a file


@dataclass(frozen=True, order=True)
class Platform:
    """The node type, device, threads and dtype that all cells of one table share.

    gpu_count, gpu_model: as requested by the task.
    """

    node_type: str
    hardware: str
    device: str
    threads: int
    dtype: str
    gpu_count: int = 0
    gpu_model: str = ""

    @property
    def device_name(self) -> str:
        return device_name(self.device, self.gpu_count, self.gpu_model)


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
    """One model at one batch size."""

    model: str
    batch_size: int


def read_platform(row: Row) -> Platform:
    device = in_one_line(row["device"])
    hardware = in_one_line(row["gpu_name"] if device == "gpu" else row["cpu_model"])
    threads = int(str(row["threads"]))
    node_type, dtype = in_one_line(row["node_type"]), in_one_line(row["dtype"])
    gpu_count, gpu_model = int(str(row.get("gpu_count") or 0)), in_one_line(row.get("gpu_model"))
    return Platform(node_type, hardware, device, threads, dtype, gpu_count, gpu_model)


def read_workload(row: Row) -> Workload:
    return Workload(in_one_line(row["model"]), int(str(row["batch_size"])))


def read_implementation(row: Row) -> Implementation:
    qualifier = str(row.get(QUALIFIER, ""))
    return Implementation(in_one_line(row["framework"]), in_one_line(row["variant"]), qualifier)


def add_qualifiers(rows: Sequence[Row]) -> list[Row]:
    """Return the rows; where several tasks share a cell, each row gets a qualifier.

    This happens, for example, if a sweep was resumed with other lock files.
    """
    tasks: dict[tuple[Platform, Workload, Implementation], dict[object, Row]] = {}
    for row in rows:
        key = (read_platform(row), read_workload(row), read_implementation(row))
        tasks.setdefault(key, {}).setdefault(row["task_id"], row)
    qualifiers: dict[object, str] = {}
    for alike in (found for found in tasks.values() if len(found) > 1):
        names = make_distinct(
            dict.fromkeys(alike, ""), {key: _settings(alike[key]) for key in alike}
        )
        qualifiers |= make_distinct(names, {key: {"task": in_one_line(key)} for key in alike})
    return [
        {**row, QUALIFIER: qualifiers[row["task_id"]]} if row["task_id"] in qualifiers else row
        for row in rows
    ]


def _settings(row: Row) -> dict[str, str]:
    """The other settings in which tasks may differ."""
    words = {"seed": "seed", "exclusive": "exclusive", "environment_hash": "environment"}
    return {word: in_one_line(row.get(column)) for column, word in words.items()}
