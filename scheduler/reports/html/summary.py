"""The summary of a sweep in sentences: what ran, what is verified, fastest, missing or unstable."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from velodrome.agents.phases import find_decisive
from velodrome.scheduler.reports import outliers_text
from velodrome.scheduler.reports.cell_keys import Workload
from velodrome.scheduler.reports.cells import CellResult
from velodrome.scheduler.reports.html.cell_values import are_disjoint
from velodrome.scheduler.reports.html.formatting import (
    format_hardware,
    format_platform,
    join_names,
    show_count,
    truncate,
)
from velodrome.scheduler.reports.html.grid import find_fastest
from velodrome.scheduler.reports.html.grouped_rows import PlatformCells, list_implementations
from velodrome.scheduler.reports.html.missing_values import Reason
from velodrome.scheduler.reports.interference_summary import describe_interference
from velodrome.scheduler.reports.mixed_builds import describe_builds
from velodrome.scheduler.reports.outliers import collect_task_times, find_outliers
from velodrome.scheduler.reports.proof import describe_undecided_checks
from velodrome.scheduler.results.typed_rows import TaskRow
from velodrome.scheduler.statistics.cell_interval import FEWEST

MOST_PLATFORMS = 3  # with a sentence on the fastest
MOST_REASONS = 3
LONGEST_REASON = 90
MINUTE_S = 60


@dataclass(frozen=True)
class Sentence:
    """A sentence of the summary. is_warning: it limits the use of the numbers."""

    text: str
    is_warning: bool = False


@dataclass(frozen=True)
class Tile:
    """One key number of the page."""

    number: str
    words: str


def build_tiles(rows: Sequence[TaskRow], groups: Sequence[PlatformCells]) -> tuple[Tile, ...]:
    """Build the key numbers at the top of the page."""
    cells = [cell for group in groups for cell in group.cells.values()]
    numbered = [cell for cell in cells if cell.with_number]
    own = sum(1 for cell in numbered if cell.verified and cell.is_against_itself)
    verified = sum(1 for cell in numbered if cell.verified) - own
    frameworks = {impl.framework for impl in list_implementations(groups)}
    models = {workload.model for group in groups for workload in group.workloads}
    return (
        Tile(f"{len(cells):,}", "cells" if len(cells) != 1 else "cell"),
        Tile(f"{len(numbered):,}", "with a time"),
        Tile(f"{verified:,}", "verified"),
        *([Tile(f"{own:,}", "against itself")] if own else []),
        Tile(f"{len(frameworks):,}", "frameworks" if len(frameworks) != 1 else "framework"),
        Tile(f"{len(models):,}", "models" if len(models) != 1 else "model"),
    )


def summarize_sweep(
    rows: Sequence[TaskRow],
    groups: Sequence[PlatformCells],
    reasons: Sequence[Reason],
    planned: int,
) -> tuple[Sentence, ...]:
    """Write the summary. planned: the number of planned runs, 0 if unknown."""
    return (
        *_warn_first(rows),
        Sentence(_describe_runs(rows, groups)),
        *_warn_unfinished(rows, planned),
        *_describe_proof(groups),
        *_describe_checks(groups),
        *_describe_unexpected(reasons),
        *(Sentence(text) for text in _name_fastest(groups)),
        *_describe_missing(reasons),
        *_describe_instability(rows, groups),
        *_describe_outliers(rows),
    )


def _describe_runs(rows: Sequence[TaskRow], groups: Sequence[PlatformCells]) -> str:
    implementations = list_implementations(groups)
    frameworks = list(dict.fromkeys(impl.framework for impl in implementations))
    models = {workload.model for group in groups for workload in group.workloads}
    nodes = {row.node_id for row in rows if row.node_id}
    ran = f"{join_names(frameworks)} ({show_count(len(implementations), 'variant')})"
    where = f" on {show_count(len(nodes), 'node')}" if nodes else " on no node"
    return f"{ran} ran {show_count(len(models), 'model')}{where}{_describe_time(rows)}."


def _warn_unfinished(rows: Sequence[TaskRow], planned: int) -> Iterator[Sentence]:
    ended = len({(row.task_id, row.repeat) for row in rows if row.status != "lost"})
    if planned > ended:
        missing = show_count(planned - ended, "run")
        yield Sentence(
            f"The sweep is incomplete: {missing} of {planned:,} missing.", is_warning=True
        )


def _describe_time(rows: Sequence[TaskRow]) -> str:
    starts = [row.started_at for row in rows if row.started_at is not None]
    ends = [row.finished_at for row in rows if row.finished_at is not None]
    if not starts or not ends:
        return ""
    first, last = min(map(_to_datetime, starts)), max(map(_to_datetime, ends))
    minutes = (last - first).total_seconds() / MINUTE_S
    lasted = f"{minutes / 60:.1f} hours" if minutes >= 120 else show_count(round(minutes), "minute")
    return f"; start {first:%d %B %Y, %H:%M} UTC, duration {lasted}"


def _to_datetime(value: object) -> datetime:
    return value if isinstance(value, datetime) else datetime.min.replace(tzinfo=UTC)


def _describe_proof(groups: Sequence[PlatformCells]) -> Iterator[Sentence]:
    cells = [cell for group in groups for cell in group.cells.values()]
    numbered = [cell for cell in cells if cell.with_number]
    unproven = sum(1 for cell in numbered if not cell.verified)
    count = f"{len(numbered):,} of {show_count(len(cells), 'cell')} have a time"
    if not numbered:
        yield Sentence("No cell has a time.", is_warning=True)
    elif unproven:
        yield Sentence(f"{count}; {unproven:,} of them are not verified.", is_warning=True)
    else:
        proof = "the loss and all gradients agree with the float64 reference"
        own = sum(1 for cell in numbered if cell.is_against_itself)
        if own:
            proof += f", in {own:,} of them, a user's code, with that of the same code"
        yield Sentence(f"{count}; in each of them {proof}.")


def _describe_checks(groups: Sequence[PlatformCells]) -> Iterator[Sentence]:
    """Count the cells with an undecided check or without recorded checks."""
    cells = [cell for group in groups for cell in group.cells.values()]
    for text in describe_undecided_checks([cell.proof for cell in cells if cell.with_number]):
        yield Sentence(text[0].upper() + text[1:] + ".")


def _name_fastest(groups: Sequence[PlatformCells]) -> Iterator[str]:
    for group in [group for group in groups if len(group.implementations) > 1][:MOST_PLATFORMS]:
        leads: Counter[str] = Counter()
        phases: set[str] = set()
        clear: Counter[str] = Counter()
        for workload in group.workloads:
            if leader := _find_leader(group, workload):
                impl, is_clear = leader
                leads[impl] += 1
                phases.add(group.find_decisive(workload))
                clear[impl] += is_clear
        if not leads:
            continue
        leaders = [
            f"{impl} on {count}{_describe_overlap(clear[impl], count)}"
            for impl, count in leads.most_common(4)
        ]
        where = f"{format_hardware(group.platform)}, {format_platform(group.platform)}"
        workloads = show_count(sum(leads.values()), "workload")
        yield f"Fastest {find_decisive(phases)} on {where}, of {workloads}: {', '.join(leaders)}."


def _describe_overlap(clear: int, count: int) -> str:
    if clear == count:
        return ""
    return f" ({count - clear} with overlapping or missing intervals)"


def _find_leader(group: PlatformCells, workload: Workload) -> tuple[str, bool] | None:
    """Return the fastest of two times or more, and if its interval overlaps no other."""
    phase = group.find_decisive(workload)
    best = find_fastest(group, workload, phase)
    times = {
        impl: time
        for impl in group.implementations
        if (cell := group.cells.get((workload, impl))) and (time := getattr(cell, phase))
    }
    if best is None or len(times) < 2:
        return None
    leader = min(times, key=lambda impl: times[impl].median_ns)
    others = [time for impl, time in times.items() if impl != leader]
    return leader.label, all(are_disjoint(time, best) for time in others)


def _describe_unexpected(reasons: Sequence[Reason]) -> Iterator[Sentence]:
    found = [reason for reason in reasons if reason.is_unexpected]
    if found:
        text = f"{_count_cells(found)} ended unexpectedly: {_list_reasons(found)}."
        yield Sentence(text, is_warning=True)


def _describe_missing(reasons: Sequence[Reason]) -> Iterator[Sentence]:
    found = [reason for reason in reasons if not reason.is_unexpected]
    if found:
        text = f"{_count_cells(found)} ended without a time, as expected: {_list_reasons(found)}."
        yield Sentence(text)


def _count_cells(reasons: Sequence[Reason]) -> str:
    return show_count(sum(reason.count for reason in reasons), "cell")


def _list_reasons(reasons: Sequence[Reason]) -> str:
    texts = [
        f"{reason.count:,} {reason.status} ({truncate(reason.text, LONGEST_REASON)})"
        for reason in reasons[:MOST_REASONS]
    ]
    rest = len(reasons) - len(texts)
    return "; ".join([*texts, *([f"{rest} more reason{'s' * (rest > 1)}"] if rest else [])])


def _describe_instability(
    rows: Sequence[TaskRow], groups: Sequence[PlatformCells]
) -> Iterator[Sentence]:
    cells: list[CellResult] = [cell for group in groups for cell in group.cells.values()]
    unstable = sum(1 for cell in cells if cell.with_number and not cell.is_stable)
    if unstable:
        yield Sentence(
            f"{show_count(unstable, 'cell')} with an unstable time (~): the grid has the reason."
        )
    times = [time for cell in cells for time in cell.times]
    without = sum(1 for time in times if time.bounds is None)
    if without:
        has = "has" if without == 1 else "have"
        yield Sentence(
            f"{without:,} of {show_count(len(times), 'time')} {has} no 95 % interval: it takes "
            f"{FEWEST} processes, or {FEWEST} other sweeps or canaries. Small differences between "
            "these times may be noise."
        )


def _warn_first(rows: Sequence[TaskRow]) -> Iterator[Sentence]:
    for text in filter(None, (describe_builds(rows), describe_interference(rows))):
        yield Sentence(f"{text}.", is_warning=True)


def _describe_outliers(rows: Sequence[TaskRow]) -> Iterator[Sentence]:
    text = outliers_text.summarize_outliers(find_outliers(collect_task_times(rows)))
    if text:
        yield Sentence(text[0].upper() + text[1:] + ".", is_warning=True)
