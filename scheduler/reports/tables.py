"""The cells of a report as text tables: what the terminal, Markdown and CSV all show."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from velodrome.adapters.models import MODELS, families
from velodrome.adapters.registry import FRAMEWORKS
from velodrome.agents.environments.versions import split
from velodrome.scheduler.reports import proof
from velodrome.scheduler.reports.cells import Block, Cell, Contestant, Course, Time, add, best
from velodrome.scheduler.reports.instability_reasons import UNTOLD
from velodrome.scheduler.reports.task_rows import by_hand
from velodrome.scheduler.reports.uncertainty import ONE, spread_text

PHASES = ("forward", "gradient")


@dataclass(frozen=True)
class Entry:
    """What one place of a table says.

    mark: verified, unstable, failed, or expected for what was not to agree and did not.
    """

    text: str
    mark: str = ""
    is_best: bool = False
    ratio: float | None = None
    is_surprise: bool = False


@dataclass(frozen=True)
class Line:
    """One row of a table: a course in one phase, an entry per contestant."""

    course: str
    phase: str
    entries: tuple[Entry, ...]


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
    is_doubt: bool = False


@dataclass(frozen=True)
class Table:
    """One block: contestants across, courses down, two lines each. remarks: on all of it."""

    title: str
    contestants: tuple[str, ...]
    lines: tuple[Line, ...]
    footnotes: tuple[Footnote, ...]
    remarks: tuple[str, ...] = ()

    @property
    def surprises(self) -> tuple[Footnote, ...]:
        return tuple(note for note in self.footnotes if note.is_surprise)

    @property
    def as_expected(self) -> tuple[Footnote, ...]:
        return tuple(note for note in self.footnotes if not note.is_surprise and not note.is_doubt)

    @property
    def doubts(self) -> tuple[Footnote, ...]:
        return tuple(note for note in self.footnotes if note.is_doubt)


Cells = Mapping[tuple[Course, Contestant], Cell]
Doubts = Mapping[tuple[Course, Contestant, str], Footnote]  # by phase


def tabulate(block: Block, cells: Cells) -> Table:
    """The table of one block, courses and contestants in the order of zoo and registry."""
    courses = sorted({course for course, _ in cells}, key=course_order)
    contestants = sorted({contestant for _, contestant in cells}, key=contestant_order)
    footnotes = _footnotes(cells)
    doubts = _doubts(cells, len(footnotes))
    lines = [
        Line(
            f"{course.model} b{course.batch_size}",
            phase,
            tuple(_entry(cells, course, who, phase, footnotes, doubts) for who in contestants),
        )
        for course in courses
        for phase in PHASES
        if _has(cells, course, phase)
    ]
    lines.extend(_totals(cells, courses, contestants))
    names = tuple(who.label for who in contestants)
    remarks = (
        *_dtypes(block, contestants),
        *_by_hand(cells, courses, contestants),
        *proof.remarks([cell.proof for cell in cells.values() if cell.with_number]),
    )
    notes = (*footnotes.values(), *dict.fromkeys(doubts.values()))
    return Table(title(block), names, tuple(lines), notes, remarks)


def course_order(course: Course) -> tuple[int, str, int]:
    known = list(MODELS)
    place = known.index(course.model) if course.model in known else len(known)
    return place, course.model, course.batch_size


def contestant_order(who: Contestant) -> tuple[int, str, int, str, str]:
    """That of the registry, the default variant first, a framework's other versions behind it."""
    name, version = split(who.framework)
    known = list(FRAMEWORKS)
    place = known.index(name) if name in known else len(known)
    variants = FRAMEWORKS[name].variants if name in known else ()
    rank = variants.index(who.variant) if who.variant in variants else len(variants)
    return place, f"{name} {version}", rank, who.variant, who.apart


def title(block: Block) -> str:
    """E.g. `AMD EPYC 7B13, cpu, 2 threads, float32`."""
    threads = f"{block.threads} thread{'s' if block.threads != 1 else ''}"
    parts = (block.hardware, block.device_name, threads, block.dtype)
    return ", ".join(part for part in parts if part)


def duration(ns: float) -> str:
    """Three figures in the unit that suits: 812 us, 3.21 ms, 1.05 s."""
    for unit, size in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if ns >= size:
            return f"{_three_figures(ns / size)} {unit}"
    return f"{ns:.0f} ns"


def time_text(time: Time) -> str:
    """Median, and how far it may be off as far as that is known: of one process it is not."""
    told = spread_text(time)
    return duration(time.median_ns) + (f" {told}" if told != ONE else "")


def _three_figures(value: float) -> str:
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f}"


def _has(cells: Cells, course: Course, phase: str) -> bool:
    """Whether a line says anything: a model without gradients (copy) has one line, not two."""
    group = [cell for place, cell in cells.items() if place[0] == course]
    return any(getattr(cell, phase) for cell in group) or (
        phase == "gradient" and not any(cell.forward for cell in group)
    )


def _entry(
    cells: Cells,
    course: Course,
    contestant: Contestant,
    phase: str,
    footnotes: Mapping[tuple[Course, Contestant], Footnote],
    doubts: "Doubts",
) -> Entry:
    cell = cells.get((course, contestant))
    if cell is None:
        return Entry("not in this sweep")
    notes = (footnotes.get((course, contestant)), doubts.get((course, contestant, phase)))
    suffix = "".join(f" [{note.number}]" for note in notes if note)
    time: Time | None = getattr(cell, phase)
    if time is None:
        mark = "failed" if cell.is_surprise else "expected"
        return Entry(cell.status.value + suffix, mark, is_surprise=cell.is_surprise)
    lowest = best(cells, course, phase)
    ratio = time.median_ns / lowest if lowest else None
    return Entry(
        time_text(time) + suffix, mark_of(cell, time), ratio == 1.0, ratio, cell.is_surprise
    )


def _footnotes(cells: Cells) -> dict[tuple[Course, Contestant], Footnote]:
    """Numbered as the table is read."""
    notes: dict[tuple[Course, Contestant], Footnote] = {}
    for (course, who), cell in _in_order(cells):
        if cell.status.has_number and not cell.is_surprise:
            continue
        label = f"{who.label}, {course.model} b{course.batch_size}"
        if cell.with_number not in (0, cell.repeats):
            label += f", {cell.repeats - cell.with_number} of {cell.repeats} repeats"
        note = Footnote(len(notes) + 1, label, _told(cell), cell.rerun, cell.is_surprise)
        notes[(course, who)] = note
    return notes


def mark_of(cell: Cell, time: Time) -> str:
    """Of one phase: its proof is the cell's, whether it settled its own."""
    if not cell.verified:
        return "failed"
    return "verified" if time.is_stable else "unstable"


def _doubts(cells: Cells, told: int) -> Doubts:
    """One footnote for all times with the same doubt. told: how many footnotes there are before."""
    found: dict[str, list[tuple[Course, Contestant, str]]] = {}
    for (course, who), cell in _in_order(cells):
        for phase in PHASES:
            time: Time | None = getattr(cell, phase)
            if time is not None and time.doubt:
                found.setdefault(time.doubt, []).append((course, who, phase))
    notes: dict[tuple[Course, Contestant, str], Footnote] = {}
    for number, (doubt, places) in enumerate(found.items(), told + 1):
        note = Footnote(number, _names(places), _settled(doubt), "", is_doubt=True)
        notes.update(dict.fromkeys(places, note))
    return notes


def _settled(doubt: str) -> str:
    return doubt if doubt == UNTOLD else f"did not settle: {doubt}"


def _names(places: Sequence[tuple[Course, Contestant, str]]) -> str:
    """Of the first, and how many more there are: they bear the number in the table."""
    course, who, phase = places[0]
    more = f" and {len(places) - 1} more" if len(places) > 1 else ""
    return f"{who.label}, {course.model} b{course.batch_size} {phase}{more}"


def _in_order(cells: Cells) -> list[tuple[tuple[Course, Contestant], Cell]]:
    """As the table is read."""
    return sorted(
        cells.items(), key=lambda item: (course_order(item[0][0]), contestant_order(item[0][1]))
    )


def _told(cell: Cell) -> str:
    """What happened and, where it was not simply to agree, what was expected."""
    if cell.status.has_number:
        return f"agreed, expected {cell.expected}"
    told = f"{cell.status.value}: {cell.reason}"
    return f"{told} (expected {cell.expected})" if cell.expected else told


def _dtypes(block: Block, contestants: Sequence[Contestant]) -> Iterator[str]:
    """A variant that is named like a type computes in it, whatever the weights come in."""
    for who in contestants:
        if who.variant in ("float64", "float16", "bfloat16") and who.variant != block.dtype:
            yield f"{who.label}: computes in {who.variant}, from {block.dtype} weights and batches"


def _by_hand(
    cells: Cells, courses: Sequence[Course], contestants: Sequence[Contestant]
) -> Iterator[str]:
    """What a framework has no operation for, and in which models: one line each."""
    for who in contestants:
        models: dict[str, dict[str, None]] = {}
        for course in courses:
            cell = cells.get((course, who))
            for note in by_hand(cell.notes) if cell else ():
                models.setdefault(note, {})[course.model] = None
        for note, names in models.items():
            yield f"{who.label}: {note} ({', '.join(names)})"


def _totals(
    cells: Cells, courses: Sequence[Course], contestants: Sequence[Contestant]
) -> list[Line]:
    """The study's total pre-training time: the sum of an auto-encoder family's stages."""
    lines = []
    for family, members in families().items():
        stages = [course for course in courses if course.model in members and "/ae" in course.model]
        if len({course.model for course in stages}) < len(members) - 1:
            continue
        for batch_size in sorted({course.batch_size for course in stages}):
            parts = [course for course in stages if course.batch_size == batch_size]
            entries = tuple(_total(cells, parts, who) for who in contestants)
            lines.append(Line(f"{family} pre-training b{batch_size}", "gradient", _ranked(entries)))
    return lines


def _total(cells: Cells, parts: Sequence[Course], who: Contestant) -> tuple[Time | None, str]:
    found = [cells.get((course, who)) for course in parts]
    times = [cell.gradient for cell in found if cell is not None and cell.gradient is not None]
    if len(times) < len(parts):
        return None, "a part has no number"
    total = add(times)
    sure = total.is_stable and all(cell is not None and cell.verified for cell in found)
    return total, "verified" if sure else "unstable"


def _ranked(totals: Sequence[tuple[Time | None, str]]) -> tuple[Entry, ...]:
    lowest = min((time.median_ns for time, _ in totals if time), default=None)
    return tuple(
        Entry(why)
        if time is None or lowest is None
        else Entry(time_text(time), why, time.median_ns == lowest, time.median_ns / lowest)
        for time, why in totals
    )
