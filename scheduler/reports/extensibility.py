"""Outcomes of one-operation probes: which operations each framework supports, with evidence.

The study's first axis. A framework agrees with its own operation, agrees with operations that its
adapter composes, or does not agree. The default variant stands for the framework; other variants
are listed if they differ. No time is used here.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from velodrome.adapters.composed_ops import list_composed_kinds
from velodrome.adapters.models.probes import PROBED
from velodrome.agents.measurement import Status
from velodrome.scheduler.plans.expected_outcomes import AGREED
from velodrome.scheduler.reports.cell_keys import Implementation, Workload, implementation_order
from velodrome.scheduler.reports.cells import CellResult, collect_cells
from velodrome.scheduler.reports.task_rows import select_composed_notes
from velodrome.scheduler.results.typed_rows import TaskRow

COMPOSED = "composed"


@dataclass(frozen=True)
class ProbeOutcome:
    """The outcome of one probe in one implementation. word: agreed, composed or a status."""

    probe: str
    impl: Implementation
    device: str
    word: str
    evidence: str
    gradient_error: float | None
    rerun: str
    is_unexpected: bool

    @property
    def is_agreed(self) -> bool:
        return self.word in (AGREED, COMPOSED)


@dataclass(frozen=True)
class ProbeAnswer:
    """The outcome of one framework's default variant, and of the variants that differ."""

    default: ProbeOutcome
    others: tuple[ProbeOutcome, ...] = ()


@dataclass(frozen=True)
class ProbeGrid:
    """Probes down, frameworks across; the sweep did not contain a missing place."""

    device: str
    probes: tuple[str, ...]
    frameworks: tuple[str, ...]
    places: Mapping[tuple[str, str], ProbeAnswer]

    def count_outcomes(self, framework: str) -> tuple[int, int, int]:
        """Count the probes that agreed by an own operation, by composed ones, and all probes."""
        words = [
            place.default.word for (_, name), place in self.places.items() if name == framework
        ]
        return words.count(AGREED), words.count(COMPOSED), len(words)


def collect_outcomes(rows: Iterable[TaskRow]) -> tuple[ProbeOutcome, ...]:
    """Return one outcome per probe, variant, device and precision.

    It is the worst over threads and nodes.
    """
    found: dict[tuple[str, Implementation, str], list[ProbeOutcome]] = {}
    for platform, cells in collect_cells(row for row in rows if row.model in PROBED).items():
        for (workload, impl), cell in cells.items():
            device = platform.device_and_dtype
            outcome = _build_outcome(workload, impl, device, cell)
            found.setdefault((workload.model, impl, device), []).append(outcome)
    worst = [max(group, key=_rank_badness) for group in found.values()]
    return tuple(sorted(worst, key=_rank))


def build_grids(found: Sequence[ProbeOutcome]) -> tuple[ProbeGrid, ...]:
    """Build one grid per device."""
    devices = sorted({outcome.device for outcome in found})
    return tuple(
        _build_grid(device, [outcome for outcome in found if outcome.device == device])
        for device in devices
    )


def _build_grid(device: str, found: Sequence[ProbeOutcome]) -> ProbeGrid:
    """Build a grid. found: in the order of probes and variants, the default variant first."""
    groups: dict[tuple[str, str], list[ProbeOutcome]] = {}
    for outcome in found:
        groups.setdefault((outcome.probe, outcome.impl.framework), []).append(outcome)
    places = {
        key: ProbeAnswer(first, tuple(outcome for outcome in others if outcome.word != first.word))
        for key, (first, *others) in groups.items()
    }
    frameworks = dict.fromkeys(
        outcome.impl.framework
        for outcome in sorted(found, key=lambda outcome: implementation_order(outcome.impl))
    )
    return ProbeGrid(
        device, tuple(dict.fromkeys(outcome.probe for outcome in found)), (*frameworks,), places
    )


def _build_outcome(
    workload: Workload, impl: Implementation, device: str, cell: CellResult
) -> ProbeOutcome:
    word = cell.status.value
    evidence = cell.reason
    if cell.status.has_number:
        notes = tuple(
            note
            for note in select_composed_notes(cell.notes)
            if PROBED[workload.model] in list_composed_kinds((note,))
        )
        word, evidence = (COMPOSED, "; ".join(notes)) if notes else (AGREED, "")
    return ProbeOutcome(
        workload.model,
        impl,
        device,
        word,
        evidence,
        cell.gradient_error,
        cell.rerun,
        cell.is_unexpected,
    )


def _rank_badness(outcome: ProbeOutcome) -> int:
    """Rank outcomes: agreed, composed, unsupported, then every other failure."""
    order = (AGREED, COMPOSED, Status.UNSUPPORTED.value)
    return order.index(outcome.word) if outcome.word in order else len(order)


def _rank(outcome: ProbeOutcome) -> tuple[int, str, tuple[int, str, int, str, str]]:
    return list(PROBED).index(outcome.probe), outcome.device, implementation_order(outcome.impl)
