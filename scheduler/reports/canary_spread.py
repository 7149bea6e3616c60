"""How far processes differ on the machines of a sweep, by the canaries around its tasks."""

from collections.abc import Iterable, Mapping

from velodrome.scheduler.reports.task_rows import Row
from velodrome.scheduler.statistics.cell_interval import Known, known_by_canaries

CanaryKey = tuple[object, ...]
Canaries = Mapping[CanaryKey, Known]


def measure_canary_variation(rows: Iterable[Row]) -> Canaries:
    """How they differed from each other, by where they ran; each is a process of its own."""
    found: dict[CanaryKey, dict[float, None]] = {}
    for row in rows:
        for name in ("canary_before_ns", "canary_after_ns"):
            value = row.get(name)
            if isinstance(value, int | float):
                # That after a task may be the one before the next.
                found.setdefault(place_of(row), {})[float(value)] = None
    told = {place: known_by_canaries(values) for place, values in found.items()}
    return {place: one for place, one in told.items() if one is not None}


def place_of(row: Row) -> CanaryKey:
    names = ("canary_model", "node_type", "device", "threads")
    return tuple(row.get(name) for name in names)
