"""What each framework can express: the outcomes of one-operation probes, with their evidence.

The study's first axis. A framework agrees with its own operation, agrees with one that its adapter
writes by hand, or does not; of several variants the default one is told, and others where they
differ. Nothing here depends on how fast anything was.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from velodrome.adapters.composed_ops import list_composed_kinds
from velodrome.adapters.models.probes import PROBED
from velodrome.agents.measurement import Status
from velodrome.scheduler.plans.expectations import AGREED
from velodrome.scheduler.reports.cells import CellResult, Implementation, Workload, collect_cells
from velodrome.scheduler.reports.tables import implementation_order
from velodrome.scheduler.reports.task_rows import Row, select_composed_notes

BY_HAND = "by hand"


@dataclass(frozen=True)
class ProbeOutcome:
    """What became of one probe in one framework's variant. word: agreed, by hand or a status."""

    probe: str
    impl: Implementation
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
class ProbeAnswer:
    """One framework's answer to one probe: of its default variant, and of those that differ."""

    told: ProbeOutcome
    others: tuple[ProbeOutcome, ...] = ()


@dataclass(frozen=True)
class ProbeGrid:
    """Probes down, frameworks across; a place that is missing was not in the sweep."""

    device: str
    probes: tuple[str, ...]
    frameworks: tuple[str, ...]
    places: Mapping[tuple[str, str], ProbeAnswer]

    def counts(self, framework: str) -> tuple[int, int, int]:
        """Probes that agreed by the framework's own operation, by hand, and all there were."""
        told = [place.told.word for (_, name), place in self.places.items() if name == framework]
        return told.count(AGREED), told.count(BY_HAND), len(told)


def collect_outcomes(rows: Iterable[Row]) -> tuple[ProbeOutcome, ...]:
    """One per probe, variant and device: the worst over threads, nodes and repeats."""
    found: dict[tuple[str, Implementation, str], list[ProbeOutcome]] = {}
    for platform, cells in collect_cells(row for row in rows if row["model"] in PROBED).items():
        for (workload, impl), cell in cells.items():
            key = (workload.model, impl, platform.device_name)
            found.setdefault(key, []).append(_outcome(workload, impl, platform.device_name, cell))
    worst = [max(group, key=_badness) for group in found.values()]
    return tuple(sorted(worst, key=_order))


def build_grids(found: Sequence[ProbeOutcome]) -> tuple[ProbeGrid, ...]:
    """One per device."""
    devices = sorted({outcome.device for outcome in found})
    return tuple(
        _grid(device, [one for one in found if one.device == device]) for device in devices
    )


def _grid(device: str, found: Sequence[ProbeOutcome]) -> ProbeGrid:
    """found is in the order of probes and contestants, so that a default variant comes first."""
    groups: dict[tuple[str, str], list[ProbeOutcome]] = {}
    for outcome in found:
        groups.setdefault((outcome.probe, outcome.impl.framework), []).append(outcome)
    places = {
        key: ProbeAnswer(first, tuple(one for one in others if one.word != first.word))
        for key, (first, *others) in groups.items()
    }
    frameworks = dict.fromkeys(
        one.impl.framework for one in sorted(found, key=lambda one: implementation_order(one.impl))
    )
    return ProbeGrid(
        device, tuple(dict.fromkeys(one.probe for one in found)), (*frameworks,), places
    )


def _outcome(
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
        word, evidence = (BY_HAND, "; ".join(notes)) if notes else (AGREED, "")
    return ProbeOutcome(
        workload.model,
        impl,
        device,
        word,
        evidence,
        cell.gradient_error,
        cell.rerun,
        cell.is_surprise,
    )


def _badness(outcome: ProbeOutcome) -> int:
    """Agreed, by hand, unsupported, then whatever else went wrong."""
    order = (AGREED, BY_HAND, Status.UNSUPPORTED.value)
    return order.index(outcome.word) if outcome.word in order else len(order)


def _order(outcome: ProbeOutcome) -> tuple[int, str, tuple[int, str, int, str, str]]:
    return list(PROBED).index(outcome.probe), outcome.device, implementation_order(outcome.impl)
