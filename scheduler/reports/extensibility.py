"""What each framework can express: the outcomes of one-operation probes, with their evidence.

The study's first axis. A framework agrees with its own operation, agrees with one that its adapter
writes by hand, or does not; of several variants the default one is told, and others where they
differ. Nothing here depends on how fast anything was.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from velodrome.adapters.composed_ops import kinds_by_hand
from velodrome.adapters.models.probes import PROBED
from velodrome.agents.measurement import Status
from velodrome.scheduler.plans.expectations import AGREED
from velodrome.scheduler.reports.cells import Cell, Contestant, Course, gather
from velodrome.scheduler.reports.tables import contestant_order
from velodrome.scheduler.reports.task_rows import Row, by_hand

BY_HAND = "by hand"


@dataclass(frozen=True)
class Outcome:
    """What became of one probe in one framework's variant. word: agreed, by hand or a status."""

    probe: str
    who: Contestant
    device: str
    word: str
    evidence: str
    gradient_error: float | None
    rerun: str
    is_surprise: bool

    @property
    def is_agreed(self) -> bool:
        return self.word in (AGREED, BY_HAND)


@dataclass(frozen=True)
class Place:
    """One framework's answer to one probe: of its default variant, and of those that differ."""

    told: Outcome
    others: tuple[Outcome, ...] = ()


@dataclass(frozen=True)
class Grid:
    """Probes down, frameworks across; a place that is missing was not in the sweep."""

    device: str
    probes: tuple[str, ...]
    frameworks: tuple[str, ...]
    places: Mapping[tuple[str, str], Place]

    def counts(self, framework: str) -> tuple[int, int, int]:
        """Probes that agreed by the framework's own operation, by hand, and all there were."""
        told = [place.told.word for (_, name), place in self.places.items() if name == framework]
        return told.count(AGREED), told.count(BY_HAND), len(told)


def outcomes(rows: Iterable[Row]) -> tuple[Outcome, ...]:
    """One per probe, variant and device: the worst over threads, nodes and repeats."""
    found: dict[tuple[str, Contestant, str], list[Outcome]] = {}
    for block, cells in gather(row for row in rows if row["model"] in PROBED).items():
        for (course, who), cell in cells.items():
            key = (course.model, who, block.device_name)
            found.setdefault(key, []).append(_outcome(course, who, block.device_name, cell))
    worst = [max(group, key=_badness) for group in found.values()]
    return tuple(sorted(worst, key=_order))


def grids(found: Sequence[Outcome]) -> tuple[Grid, ...]:
    """One per device."""
    devices = sorted({outcome.device for outcome in found})
    return tuple(
        _grid(device, [one for one in found if one.device == device]) for device in devices
    )


def _grid(device: str, found: Sequence[Outcome]) -> Grid:
    """found is in the order of probes and contestants, so that a default variant comes first."""
    groups: dict[tuple[str, str], list[Outcome]] = {}
    for outcome in found:
        groups.setdefault((outcome.probe, outcome.who.framework), []).append(outcome)
    places = {
        key: Place(first, tuple(one for one in others if one.word != first.word))
        for key, (first, *others) in groups.items()
    }
    frameworks = dict.fromkeys(
        one.who.framework for one in sorted(found, key=lambda one: contestant_order(one.who))
    )
    return Grid(device, tuple(dict.fromkeys(one.probe for one in found)), (*frameworks,), places)


def _outcome(course: Course, who: Contestant, device: str, cell: Cell) -> Outcome:
    word = cell.status.value
    evidence = cell.reason
    if cell.status.has_number:
        notes = tuple(
            note for note in by_hand(cell.notes) if PROBED[course.model] in kinds_by_hand((note,))
        )
        word, evidence = (BY_HAND, "; ".join(notes)) if notes else (AGREED, "")
    return Outcome(
        course.model, who, device, word, evidence, cell.gradient_error, cell.rerun, cell.is_surprise
    )


def _badness(outcome: Outcome) -> int:
    """Agreed, by hand, unsupported, then whatever else went wrong."""
    order = (AGREED, BY_HAND, Status.UNSUPPORTED.value)
    return order.index(outcome.word) if outcome.word in order else len(order)


def _order(outcome: Outcome) -> tuple[int, str, tuple[int, str, int, str, str]]:
    return list(PROBED).index(outcome.probe), outcome.device, contestant_order(outcome.who)
