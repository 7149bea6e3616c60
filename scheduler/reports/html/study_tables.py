"""The study's tables from our rows: times by threads and device, auto-encoders, peak memory.

Beside each stands what the study published for the same framework, model and batch size, in
columns of its own that the page shows only when asked for.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from velodrome.adapters.models import MODELS, families
from velodrome.scheduler.reports.cells import Cell, Contestant, Course, Time, add
from velodrome.scheduler.reports.html.formatting import counted, shown_duration, size, spread
from velodrome.scheduler.reports.html.grid import overlap
from velodrome.scheduler.reports.html.grouped_rows import Group, all_contestants
from velodrome.scheduler.reports.html.published import published

CONVOLUTIONAL = ("lenet", "alexnet", "alexnet-plain", "lstm")
MOST_PLACES = 6  # blocks side by side in one table
STAGES = ("ae1", "ae2", "ae3")


@dataclass(frozen=True)
class Figure:
    """One place of a table; where there is no number, text says why."""

    text: str
    detail: str = ""
    mark: str = ""
    time: Time | None = None
    is_best: bool = False


@dataclass(frozen=True)
class StudyTable:
    """spans: titles over columns, with how many each stands over; the study's come last."""

    id: str
    title: str
    where: str
    spans: tuple[tuple[str, int, bool], ...]
    columns: tuple[tuple[str, bool], ...]  # title, and whether it is of the study's
    rows: tuple[tuple[str, tuple[Figure, ...]], ...]
    models: tuple[str, ...]  # whose rows of `tasks` it is of


def study_tables(groups: Sequence[Group]) -> tuple[StudyTable, ...]:
    """Of each node type with numbers, in the study's order."""
    found: list[StudyTable] = []
    for where, own in _by_hardware(groups):
        found += [
            table for model in CONVOLUTIONAL for table in _times(model, where, own, len(found))
        ]
        found += [
            table for family in families() for table in _encoder(family, where, own, len(found))
        ]
        found += _memory(where, own, len(found))
    return tuple(found)


def _by_hardware(groups: Sequence[Group]) -> Iterator[tuple[str, list[Group]]]:
    """Nodes of one type stand in one table, whatever their devices are called."""
    found: dict[str, list[Group]] = {}
    for group in groups:
        if group.with_number:
            found.setdefault(group.block.node_type, []).append(group)
    for own in found.values():
        names = dict.fromkeys(group.block.hardware for group in own)
        in_order = sorted(own, key=lambda one: (one.block.device, one.block.threads))
        yield " and ".join(names), in_order[:MOST_PLACES]


def _times(model: str, where: str, groups: Sequence[Group], number: int) -> Iterator[StudyTable]:
    courses = [course for group in groups for course in group.courses if course.model == model]
    if not courses:
        return
    course = Course(model, _batch_size(model, [one.batch_size for one in courses]))
    contestants = [
        who for who in all_contestants(groups) if any((course, who) in g.cells for g in groups)
    ]
    study = published()
    phases = ("gradient", "forward")
    has_study = study.has(model, course.batch_size)
    columns = [
        [_figure(group.cells.get((course, who)), phase) for who in contestants]
        for group in groups
        for phase in phases
    ]
    columns = [_with_best(column) for column in columns]
    if has_study:
        columns += [
            [_published(who, model, course.batch_size, phase) for who in contestants]
            for phase in phases
        ]
    spans = [(_place(group), len(phases), False) for group in groups]
    yield StudyTable(
        id=f"study-{model}-{number}",
        title=f"{model}, batch {course.batch_size}",
        where=where,
        spans=(*spans, *_study_span(len(phases) if has_study else 0)),
        columns=tuple((phase, False) for _ in groups for phase in phases)
        + tuple((phase, True) for phase in phases if has_study),
        rows=_rows(contestants, columns),
        models=(model,),
    )


def _encoder(family: str, where: str, groups: Sequence[Group], number: int) -> Iterator[StudyTable]:
    """AE1 to AE3 and their sum by gradient; then fine-tuning. A row per contestant and place."""
    stages = [f"{family}/{stage}" for stage in STAGES]
    tuning = f"{family}/finetune"
    sizes = [c.batch_size for g in groups for c in g.courses if c.model in (*stages, tuning)]
    if not sizes:
        return
    batch_size = _batch_size(tuning, sizes)
    ours: list[tuple[str, Group, Contestant]] = [
        (f"{who.label}, {_place(group)}", group, who)
        for group in groups
        for who in group.contestants
        if any((Course(model, batch_size), who) in group.cells for model in (*stages, tuning))
    ]

    def cell(group: Group, who: Contestant, model: str) -> Cell | None:
        return group.cells.get((Course(model, batch_size), who))

    columns = [
        [_figure(cell(group, who, model), "gradient") for _, group, who in ours] for model in stages
    ]
    columns.append([_total([cell(g, who, model) for model in stages]) for _, g, who in ours])
    columns += [
        [_figure(cell(group, who, tuning), phase) for _, group, who in ours]
        for phase in ("gradient", "forward")
    ]
    titles = ("AE1", "AE2", "AE3", "total", "fine-tuning gradient", "fine-tuning forward")
    study = [
        [_published(who, model, batch_size, phase) for _, _, who in ours]
        for model, phase in (
            *((stage, "gradient") for stage in stages),
            (family, "total"),
            (tuning, "gradient"),
            (tuning, "forward"),
        )
    ]
    has_study = published().has(family, batch_size)
    columns = [
        _best_in_place(column, [_place(group) for _, group, _ in ours]) for column in columns
    ]
    columns += study if has_study else []
    yield StudyTable(
        id=f"study-{family}-{number}",
        title=f"stacked auto-encoder {family.removeprefix('autoencoder-')}, batch {batch_size}",
        where=where,
        spans=(
            ("pre-training, gradient", 4, False),
            ("with the classifier", 2, False),
            *_study_span(6 if has_study else 0),
        ),
        columns=tuple((title, False) for title in titles)
        + tuple((title, True) for title in titles if has_study),
        rows=tuple(
            (name, tuple(column[row] for column in columns))
            for row, (name, _, _) in enumerate(ours)
        ),
        models=(*stages, tuning),
    )


def _memory(where: str, groups: Sequence[Group], number: int) -> Iterator[StudyTable]:
    """The largest peak over batch sizes, threads and repeats of each model."""
    contestants = all_contestants(groups)
    models = list(dict.fromkeys(course.model for g in groups for course in g.courses))
    columns = []
    for column in ("peak_rss_bytes", "peak_gpu_memory_bytes"):
        peaks = _peaks(groups, column)
        columns += [[_peak(peaks.get((who, model))) for who in contestants] for model in models]
    has_gpu = any(figure.text != "-" for column in columns[len(models) :] for figure in column)
    kept = columns if has_gpu else columns[: len(models)]
    kinds = ("of the process", "of the GPU")[: 1 + has_gpu]
    yield StudyTable(
        id=f"study-memory-{number}",
        title="peak memory",
        where=where,
        spans=tuple((kind, len(models), False) for kind in kinds),
        columns=tuple((model, False) for _ in kinds for model in models),
        rows=_rows(contestants, kept),
        models=tuple(models),
    )


def _peaks(groups: Sequence[Group], column: str) -> dict[tuple[Contestant, str], int]:
    found: dict[tuple[Contestant, str], int] = {}
    for group in groups:
        for (course, who), rows in group.rows.items():
            peak = max((int(str(row.get(column) or 0)) for row in rows), default=0)
            key = (who, course.model)
            found[key] = max(peak, found.get(key, 0))
    return found


def _peak(found: int | None) -> Figure:
    return Figure(size(found)) if found else Figure("-")


def _batch_size(model: str, there: Sequence[int]) -> int:
    """The study's, else the model's own, else the largest."""
    known = [size for size in set(there) if published().has(model, size)]
    own = [size for size in there if model in MODELS and size == MODELS[model].batch_size]
    return (known or own or [max(there)])[0]


def _place(group: Group) -> str:
    block = group.block
    return f"{block.device_name}, {counted(block.threads, 'thread')}"


def _figure(cell: Cell | None, phase: str) -> Figure:
    if cell is None:
        return Figure("-", "not in this sweep")
    time: Time | None = getattr(cell, phase)
    if time is None:
        return Figure(cell.status.value.replace("_", " "))
    return _timed(time, "verified" if cell.verified and time.is_stable else "unstable")


def _timed(time: Time, mark: str) -> Figure:
    return Figure(shown_duration(time.median_ns), spread(time), mark, time)


def _total(cells: Sequence[Cell | None]) -> Figure:
    times = [cell.gradient for cell in cells if cell is not None and cell.gradient is not None]
    if len(times) < len(cells):
        return Figure("-", "a part has no number")
    total = add(times)
    sure = total.is_stable and all(cell is not None and cell.verified for cell in cells)
    return _timed(total, "verified" if sure else "unstable")


def _with_best(column: Sequence[Figure]) -> list[Figure]:
    """The lowest of a column is marked, and whatever its interval overlaps."""
    times = [figure.time for figure in column if figure.time]
    best = min(times, key=lambda time: time.median_ns, default=None)
    if best is None or len(times) < 2:
        return list(column)
    return [
        replace(figure, is_best=figure.time is not None and _is_as_good(figure.time, best))
        for figure in column
    ]


def _is_as_good(time: Time, best: Time) -> bool:
    return time is best or overlap(time, best)


def _best_in_place(column: Sequence[Figure], places: Sequence[str]) -> list[Figure]:
    """The best of each run of rows that ran in the same place."""
    found: list[Figure] = []
    for _, run in groupby(zip(places, column, strict=True), key=lambda pair: pair[0]):
        found += _with_best([figure for _, figure in run])
    return found


def _published(who: Contestant, model: str, batch_size: int, phase: str) -> Figure:
    text = published().text(who.framework, model, batch_size, phase)
    return Figure(text, published().name(who.framework))


def _study_span(columns: int) -> tuple[tuple[str, int, bool], ...]:
    if not columns:
        return ()
    study = published()
    return ((f"the study: {study.device}, {study.machine}", columns, True),)


def _rows(
    contestants: Sequence[Contestant], columns: Sequence[Sequence[Figure]]
) -> tuple[tuple[str, tuple[Figure, ...]], ...]:
    return tuple(
        (who.label, tuple(column[row] for column in columns)) for row, who in enumerate(contestants)
    )
