"""The study's tables with new measurements: times by threads and device, peak memory.

The study's published times for the same framework, model and batch size are columns of their own,
which the page shows on request.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from velodrome.adapters.models import MODELS, list_families
from velodrome.scheduler.reports.cell_keys import Implementation, Workload, platform_order
from velodrome.scheduler.reports.cell_times import Time, add_times
from velodrome.scheduler.reports.cells import CellResult
from velodrome.scheduler.reports.html.cell_values import overlap
from velodrome.scheduler.reports.html.formatting import (
    show_count,
    show_duration,
    show_size,
    show_uncertainty,
)
from velodrome.scheduler.reports.html.grouped_rows import PlatformCells, list_implementations
from velodrome.scheduler.reports.html.published import load_published

CONVOLUTIONAL = ("lenet", "alexnet", "alexnet-plain", "lstm")
MOST_PLACES = 6  # platforms side by side in one table
STAGES = ("ae1", "ae2", "ae3")


@dataclass(frozen=True)
class StudyCell:
    """One cell of a table: a time, or the reason for none."""

    text: str
    detail: str = ""
    mark: str = ""
    time: Time | None = None
    is_best: bool = False


@dataclass(frozen=True)
class StudyTable:
    """One table. spans: titles over groups of columns, with their number; the study's are last."""

    id: str
    title: str
    where: str
    spans: tuple[tuple[str, int, bool], ...]
    columns: tuple[tuple[str, bool], ...]  # title, True for the study's
    rows: tuple[tuple[str, tuple[StudyCell, ...]], ...]
    models: tuple[str, ...]  # of its `tasks` rows


def build_study_tables(groups: Sequence[PlatformCells]) -> tuple[StudyTable, ...]:
    """Build the tables of each node type with times, in the study's order."""
    found: list[StudyTable] = []
    for where, own in _group(groups):
        for model in CONVOLUTIONAL:
            found += _build_times(model, where, own, len(found))
        for family in list_families():
            found += _build_encoder(family, where, own, len(found))
        found += _build_memory(where, own, len(found))
    return tuple(found)


def _group(groups: Sequence[PlatformCells]) -> Iterator[tuple[str, list[PlatformCells]]]:
    """Group platforms by node type: one table has all devices of a type."""
    found: dict[str, list[PlatformCells]] = {}
    for group in groups:
        if group.with_number:
            found.setdefault(group.platform.node_type, []).append(group)
    for own in found.values():
        names = dict.fromkeys(group.platform.hardware for group in own)
        in_order = sorted(own, key=lambda group: platform_order(group.platform))
        yield " and ".join(names), in_order[:MOST_PLACES]


def _build_times(
    model: str, where: str, groups: Sequence[PlatformCells], number: int
) -> Iterator[StudyTable]:
    if not (sizes := _list_given_sizes(groups, (model,))):
        return
    workload = Workload(model, _choose_size(model, sizes))
    implementations = [
        impl
        for impl in list_implementations(groups)
        if any((workload, impl) in g.cells for g in groups)
    ]
    study = load_published()
    phases = ("gradient", "forward")
    has_study = study.has(model, workload.batch_size)
    columns = [
        [_build_cell(group.cells.get((workload, impl)), phase) for impl in implementations]
        for group in groups
        for phase in phases
    ]
    columns = [_mark_best(column) for column in columns]
    if has_study:
        columns += [
            [_read_published(impl, model, workload.batch_size, phase) for impl in implementations]
            for phase in phases
        ]
    spans = [(_name_place(group), len(phases), False) for group in groups]
    yield StudyTable(
        id=f"study-{model}-{number}",
        title=f"{model}, batch {workload.batch_size}",
        where=where,
        spans=(*spans, *_build_span(len(phases) if has_study else 0)),
        columns=tuple((phase, False) for _ in groups for phase in phases)
        + tuple((phase, True) for phase in phases if has_study),
        rows=_build_rows(implementations, columns),
        models=(model,),
    )


def _build_encoder(
    family: str, where: str, groups: Sequence[PlatformCells], number: int
) -> Iterator[StudyTable]:
    """Build the table of AE1 to AE3, their sum and fine-tuning, by implementation and platform."""
    stages = [f"{family}/{stage}" for stage in STAGES]
    tuning = f"{family}/finetune"
    if not (sizes := _list_given_sizes(groups, (*stages, tuning))):
        return
    batch_size = _choose_size(tuning, sizes)
    lines: list[tuple[str, PlatformCells, Implementation]] = [
        (f"{impl.label}, {_name_place(group)}", group, impl)
        for group in groups
        for impl in group.implementations
        if any((Workload(model, batch_size), impl) in group.cells for model in (*stages, tuning))
    ]

    def cell(group: PlatformCells, impl: Implementation, model: str) -> CellResult | None:
        return group.cells.get((Workload(model, batch_size), impl))

    columns = [
        [_build_cell(cell(group, impl, model), "gradient") for _, group, impl in lines]
        for model in stages
    ]
    columns.append([_sum([cell(g, impl, model) for model in stages]) for _, g, impl in lines])
    columns += [
        [_build_cell(cell(group, impl, tuning), phase) for _, group, impl in lines]
        for phase in ("gradient", "forward")
    ]
    titles = ("AE1", "AE2", "AE3", "total", "fine-tuning gradient", "fine-tuning forward")
    study = [
        [_read_published(impl, model, batch_size, phase) for _, _, impl in lines]
        for model, phase in (
            *((stage, "gradient") for stage in stages),
            (family, "total"),
            (tuning, "gradient"),
            (tuning, "forward"),
        )
    ]
    has_study = load_published().has(family, batch_size)
    columns = [
        _mark_places(column, [_name_place(group) for _, group, _ in lines]) for column in columns
    ]
    columns += study if has_study else []
    yield StudyTable(
        id=f"study-{family}-{number}",
        title=f"stacked auto-encoder {family.removeprefix('autoencoder-')}, batch {batch_size}",
        where=where,
        spans=(
            ("pre-training, gradient", 4, False),
            ("with the classifier", 2, False),
            *_build_span(6 if has_study else 0),
        ),
        columns=tuple((title, False) for title in titles)
        + tuple((title, True) for title in titles if has_study),
        rows=tuple(
            (name, tuple(column[row] for column in columns))
            for row, (name, _, _) in enumerate(lines)
        ),
        models=(*stages, tuning),
    )


def _build_memory(where: str, groups: Sequence[PlatformCells], number: int) -> Iterator[StudyTable]:
    """Build the table of peak memory: the largest over all settings and repeats."""
    implementations = list_implementations(groups)
    models = list(dict.fromkeys(workload.model for g in groups for workload in g.workloads))
    columns = []
    for column in ("peak_rss_bytes", "peak_gpu_memory_bytes"):
        peaks = _find_peaks(groups, column)
        columns += [
            [_format_peak(peaks.get((impl, model))) for impl in implementations] for model in models
        ]
    has_gpu = any(figure.text != "-" for column in columns[len(models) :] for figure in column)
    shown = columns if has_gpu else columns[: len(models)]
    kinds = ("of the process", "of the GPU")[: 1 + has_gpu]
    yield StudyTable(
        id=f"study-memory-{number}",
        title="peak memory",
        where=where,
        spans=tuple((kind, len(models), False) for kind in kinds),
        columns=tuple((model, False) for _ in kinds for model in models),
        rows=_build_rows(implementations, shown),
        models=tuple(models),
    )


def _find_peaks(
    groups: Sequence[PlatformCells], column: str
) -> dict[tuple[Implementation, str], int]:
    found: dict[tuple[Implementation, str], int] = {}
    for group in groups:
        for (workload, impl), rows in group.rows.items():
            peak = max((int(row.number(column) or 0) for row in rows), default=0)
            key = (impl, workload.model)
            found[key] = max(peak, found.get(key, 0))
    return found


def _format_peak(found: int | None) -> StudyCell:
    return StudyCell(show_size(found)) if found else StudyCell("-")


def _list_given_sizes(groups: Sequence[PlatformCells], models: Sequence[str]) -> list[int]:
    """List the batch sizes of models; the study has none that a node found."""
    cells = (cell for group in groups for cell in group.workloads if not cell.rule)
    return [cell.batch_size for cell in cells if cell.model in models]


def _choose_size(model: str, sizes: Sequence[int]) -> int:
    """Choose the study's batch size, else the model's own, else the largest."""
    published = [size for size in set(sizes) if load_published().has(model, size)]
    own = [size for size in sizes if model in MODELS and size == MODELS[model].batch_size]
    return (published or own or [max(sizes)])[0]


def _name_place(group: PlatformCells) -> str:
    platform = group.platform
    return f"{platform.device_and_dtype}, {show_count(platform.threads, 'thread')}"


def _build_cell(cell: CellResult | None, phase: str) -> StudyCell:
    if cell is None:
        return StudyCell("-", "not in this sweep")
    time: Time | None = getattr(cell, phase)
    if time is None:
        return StudyCell(cell.status.value.replace("_", " "))
    return _format_time(time, "verified" if cell.verified and time.is_stable else "unstable")


def _format_time(time: Time, mark: str) -> StudyCell:
    return StudyCell(show_duration(time.median_ns), show_uncertainty(time), mark, time)


def _sum(cells: Sequence[CellResult | None]) -> StudyCell:
    times = [cell.gradient for cell in cells if cell is not None and cell.gradient is not None]
    if len(times) < len(cells):
        return StudyCell("-", "a part has no time")
    total = add_times(times)
    sure = total.is_stable and all(cell is not None and cell.verified for cell in cells)
    return _format_time(total, "verified" if sure else "unstable")


def _mark_best(column: Sequence[StudyCell]) -> list[StudyCell]:
    """Mark the lowest time of a column and all times whose interval overlaps its interval."""
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


def _mark_places(column: Sequence[StudyCell], places: Sequence[str]) -> list[StudyCell]:
    """Mark the best of each run of rows on the same platform."""
    found: list[StudyCell] = []
    for _, run in groupby(zip(places, column, strict=True), key=lambda pair: pair[0]):
        found += _mark_best([figure for _, figure in run])
    return found


def _read_published(impl: Implementation, model: str, batch_size: int, phase: str) -> StudyCell:
    text = load_published().text(impl.framework, model, batch_size, phase)
    return StudyCell(text, load_published().name(impl.framework))


def _build_span(columns: int) -> tuple[tuple[str, int, bool], ...]:
    if not columns:
        return ()
    study = load_published()
    return ((f"the study: {study.device}, {study.machine}", columns, True),)


def _build_rows(
    implementations: Sequence[Implementation], columns: Sequence[Sequence[StudyCell]]
) -> tuple[tuple[str, tuple[StudyCell, ...]], ...]:
    return tuple(
        (impl.label, tuple(column[row] for column in columns))
        for row, impl in enumerate(implementations)
    )
