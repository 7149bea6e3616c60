"""The cells of a report as text tables: what the terminal, Markdown and CSV all show."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from velodrome.adapters.models import MODELS, families
from velodrome.adapters.registry import FRAMEWORKS
from velodrome.agents.environments.versions import split
from velodrome.scheduler.reports import proof
from velodrome.scheduler.reports.cells import (
    CellResult,
    Implementation,
    Platform,
    Time,
    Workload,
    add_times,
    find_best_ns,
)
from velodrome.scheduler.reports.instability_reasons import UNTOLD
from velodrome.scheduler.reports.task_rows import select_composed_notes
from velodrome.scheduler.reports.uncertainty import ONE, format_uncertainty

PHASES = ("forward", "gradient")


@dataclass(frozen=True)
class TableCell:
    """What one place of a table says.

    mark: verified, unstable, failed, or expected for what was not to agree and did not.
    """

    text: str
    mark: str = ""
    is_best: bool = False
    ratio: float | None = None
    is_surprise: bool = False


@dataclass(frozen=True)
class TableLine:
    """One row of a table: a course in one phase, an entry per contestant."""

    workload: str
    phase: str
    entries: tuple[TableCell, ...]


@dataclass(frozen=True)
class Footnote:
    """Why a cell carries no number, not all of its repeats do, or one was not expected.

    is_doubt: why times that are there did not settle.
    """

    number: int
    label: str
    reason: str
    rerun: str
    is_surprise: bool = False
    is_instability: bool = False


@dataclass(frozen=True)
class Table:
    """One block: contestants across, courses down, two lines each. remarks: on all of it."""

    title: str
    implementations: tuple[str, ...]
    lines: tuple[TableLine, ...]
    footnotes: tuple[Footnote, ...]
    remarks: tuple[str, ...] = ()

    @property
    def surprises(self) -> tuple[Footnote, ...]:
        return tuple(note for note in self.footnotes if note.is_surprise)

    @property
    def as_expected(self) -> tuple[Footnote, ...]:
        return tuple(
            note for note in self.footnotes if not note.is_surprise and not note.is_instability
        )

    @property
    def instabilities(self) -> tuple[Footnote, ...]:
        return tuple(note for note in self.footnotes if note.is_instability)


Cells = Mapping[tuple[Workload, Implementation], CellResult]
Doubts = Mapping[tuple[Workload, Implementation, str], Footnote]  # by phase


def build_table(platform: Platform, cells: Cells) -> Table:
    """The table of one block, courses and contestants in the order of zoo and registry."""
    workloads = sorted({workload for workload, _ in cells}, key=workload_order)
    implementations = sorted({impl for _, impl in cells}, key=implementation_order)
    footnotes = _footnotes(cells)
    instabilities = _doubts(cells, len(footnotes))
    lines = [
        TableLine(
            f"{workload.model} b{workload.batch_size}",
            phase,
            tuple(
                _entry(cells, workload, impl, phase, footnotes, instabilities)
                for impl in implementations
            ),
        )
        for workload in workloads
        for phase in PHASES
        if _has(cells, workload, phase)
    ]
    lines.extend(_totals(cells, workloads, implementations))
    names = tuple(impl.label for impl in implementations)
    remarks = (
        *_dtypes(platform, implementations),
        *_by_hand(cells, workloads, implementations),
        *proof.describe_undecided_checks(
            [cell.proof for cell in cells.values() if cell.with_number]
        ),
    )
    notes = (*footnotes.values(), *dict.fromkeys(instabilities.values()))
    return Table(title(platform), names, tuple(lines), notes, remarks)


def workload_order(workload: Workload) -> tuple[int, str, int]:
    known = list(MODELS)
    place = known.index(workload.model) if workload.model in known else len(known)
    return place, workload.model, workload.batch_size


def implementation_order(impl: Implementation) -> tuple[int, str, int, str, str]:
    """That of the registry, the default variant first, a framework's other versions behind it."""
    name, version = split(impl.framework)
    known = list(FRAMEWORKS)
    place = known.index(name) if name in known else len(known)
    variants = FRAMEWORKS[name].variants if name in known else ()
    rank = variants.index(impl.variant) if impl.variant in variants else len(variants)
    return place, f"{name} {version}", rank, impl.variant, impl.apart


def title(platform: Platform) -> str:
    """E.g. `AMD EPYC 7B13, cpu, 2 threads, float32`."""
    threads = f"{platform.threads} thread{'s' if platform.threads != 1 else ''}"
    parts = (platform.hardware, platform.device_name, threads, platform.dtype)
    return ", ".join(part for part in parts if part)


def format_duration(ns: float) -> str:
    """Three figures in the unit that suits: 812 us, 3.21 ms, 1.05 s."""
    for unit, size in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if ns >= size:
            return f"{_three_figures(ns / size)} {unit}"
    return f"{ns:.0f} ns"


def time_text(time: Time) -> str:
    """Median, and how far it may be off as far as that is known: of one process it is not."""
    told = format_uncertainty(time)
    return format_duration(time.median_ns) + (f" {told}" if told != ONE else "")


def _three_figures(value: float) -> str:
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f}"


def _has(cells: Cells, workload: Workload, phase: str) -> bool:
    """Whether a line says anything: a model without gradients (copy) has one line, not two."""
    group = [cell for place, cell in cells.items() if place[0] == workload]
    return any(getattr(cell, phase) for cell in group) or (
        phase == "gradient" and not any(cell.forward for cell in group)
    )


def _entry(
    cells: Cells,
    workload: Workload,
    impl: Implementation,
    phase: str,
    footnotes: Mapping[tuple[Workload, Implementation], Footnote],
    instabilities: "Doubts",
) -> TableCell:
    cell = cells.get((workload, impl))
    if cell is None:
        return TableCell("not in this sweep")
    notes = (footnotes.get((workload, impl)), instabilities.get((workload, impl, phase)))
    suffix = "".join(f" [{note.number}]" for note in notes if note)
    time: Time | None = getattr(cell, phase)
    if time is None:
        mark = "failed" if cell.is_surprise else "expected"
        return TableCell(cell.status.value + suffix, mark, is_surprise=cell.is_surprise)
    lowest = find_best_ns(cells, workload, phase)
    ratio = time.median_ns / lowest if lowest else None
    return TableCell(
        time_text(time) + suffix, mark_of(cell, time), ratio == 1.0, ratio, cell.is_surprise
    )


def _footnotes(cells: Cells) -> dict[tuple[Workload, Implementation], Footnote]:
    """Numbered as the table is read."""
    notes: dict[tuple[Workload, Implementation], Footnote] = {}
    for (workload, impl), cell in _in_order(cells):
        if cell.status.has_number and not cell.is_surprise:
            continue
        label = f"{impl.label}, {workload.model} b{workload.batch_size}"
        if cell.with_number not in (0, cell.repeats):
            label += f", {cell.repeats - cell.with_number} of {cell.repeats} repeats"
        note = Footnote(len(notes) + 1, label, _told(cell), cell.rerun, cell.is_surprise)
        notes[(workload, impl)] = note
    return notes


def mark_of(cell: CellResult, time: Time) -> str:
    """Of one phase: its proof is the cell's, whether it settled its own."""
    if not cell.verified:
        return "failed"
    return "verified" if time.is_stable else "unstable"


def _doubts(cells: Cells, told: int) -> Doubts:
    """One footnote for all times with the same doubt. told: how many footnotes there are before."""
    found: dict[str, list[tuple[Workload, Implementation, str]]] = {}
    for (workload, impl), cell in _in_order(cells):
        for phase in PHASES:
            time: Time | None = getattr(cell, phase)
            if time is not None and time.instability:
                found.setdefault(time.instability, []).append((workload, impl, phase))
    notes: dict[tuple[Workload, Implementation, str], Footnote] = {}
    for number, (instability, places) in enumerate(found.items(), told + 1):
        note = Footnote(number, _names(places), _settled(instability), "", is_instability=True)
        notes.update(dict.fromkeys(places, note))
    return notes


def _settled(instability: str) -> str:
    return instability if instability == UNTOLD else f"did not settle: {instability}"


def _names(places: Sequence[tuple[Workload, Implementation, str]]) -> str:
    """Of the first, and how many more there are: they bear the number in the table."""
    workload, impl, phase = places[0]
    more = f" and {len(places) - 1} more" if len(places) > 1 else ""
    return f"{impl.label}, {workload.model} b{workload.batch_size} {phase}{more}"


def _in_order(cells: Cells) -> list[tuple[tuple[Workload, Implementation], CellResult]]:
    """As the table is read."""
    return sorted(
        cells.items(),
        key=lambda item: (workload_order(item[0][0]), implementation_order(item[0][1])),
    )


def _told(cell: CellResult) -> str:
    """What happened and, where it was not simply to agree, what was expected."""
    if cell.status.has_number:
        return f"agreed, expected {cell.expected}"
    told = f"{cell.status.value}: {cell.reason}"
    return f"{told} (expected {cell.expected})" if cell.expected else told


def _dtypes(platform: Platform, implementations: Sequence[Implementation]) -> Iterator[str]:
    """A variant that is named like a type computes in it, whatever the weights come in."""
    for impl in implementations:
        if impl.variant in ("float64", "float16", "bfloat16") and impl.variant != platform.dtype:
            inputs = f"{platform.dtype} weights and batches"
            yield f"{impl.label}: computes in {impl.variant}, from {inputs}"


def _by_hand(
    cells: Cells, workloads: Sequence[Workload], implementations: Sequence[Implementation]
) -> Iterator[str]:
    """What a framework has no operation for, and in which models: one line each."""
    for impl in implementations:
        models: dict[str, dict[str, None]] = {}
        for workload in workloads:
            cell = cells.get((workload, impl))
            for note in select_composed_notes(cell.notes) if cell else ():
                models.setdefault(note, {})[workload.model] = None
        for note, names in models.items():
            yield f"{impl.label}: {note} ({', '.join(names)})"


def _totals(
    cells: Cells, workloads: Sequence[Workload], implementations: Sequence[Implementation]
) -> list[TableLine]:
    """The study's total pre-training time: the sum of an auto-encoder family's stages."""
    lines = []
    for family, members in families().items():
        stages = [
            workload
            for workload in workloads
            if workload.model in members and "/ae" in workload.model
        ]
        if len({workload.model for workload in stages}) < len(members) - 1:
            continue
        for batch_size in sorted({workload.batch_size for workload in stages}):
            parts = [workload for workload in stages if workload.batch_size == batch_size]
            entries = tuple(_total(cells, parts, impl) for impl in implementations)
            lines.append(
                TableLine(f"{family} pre-training b{batch_size}", "gradient", _ranked(entries))
            )
    return lines


def _total(
    cells: Cells, parts: Sequence[Workload], impl: Implementation
) -> tuple[Time | None, str]:
    found = [cells.get((workload, impl)) for workload in parts]
    times = [cell.gradient for cell in found if cell is not None and cell.gradient is not None]
    if len(times) < len(parts):
        return None, "a part has no number"
    total = add_times(times)
    sure = total.is_stable and all(cell is not None and cell.verified for cell in found)
    return total, "verified" if sure else "unstable"


def _ranked(totals: Sequence[tuple[Time | None, str]]) -> tuple[TableCell, ...]:
    lowest = min((time.median_ns for time, _ in totals if time), default=None)
    return tuple(
        TableCell(why)
        if time is None or lowest is None
        else TableCell(time_text(time), why, time.median_ns == lowest, time.median_ns / lowest)
        for time, why in totals
    )
