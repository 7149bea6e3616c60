"""What a sweep showed, in sentences: what ran, what is proven, who is fastest, what is missing."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from velodrome.scheduler.reports import outliers_text
from velodrome.scheduler.reports.cell_keys import Workload
from velodrome.scheduler.reports.cells import CellResult
from velodrome.scheduler.reports.html.formatting import (
    counted,
    cut,
    format_hardware,
    format_platform,
    listed,
)
from velodrome.scheduler.reports.html.grid import are_apart, lowest
from velodrome.scheduler.reports.html.grouped_rows import PlatformCells, all_implementations
from velodrome.scheduler.reports.html.missing_values import Reason
from velodrome.scheduler.reports.interference_summary import describe_interference
from velodrome.scheduler.reports.outliers import collect_task_times, find_outliers
from velodrome.scheduler.reports.proof import describe_undecided_checks
from velodrome.scheduler.reports.task_rows import Row
from velodrome.scheduler.statistics.cell_interval import FEWEST

MOST_BLOCKS = 3  # of which it is told who is fastest
MOST_REASONS = 3
LONGEST_REASON = 90
MINUTE_S = 60


@dataclass(frozen=True)
class Sentence:
    """is_warning: something that whoever uses the numbers should know first."""

    text: str
    is_warning: bool = False


@dataclass(frozen=True)
class Tile:
    """One number to be seen at a glance."""

    number: str
    words: str


def tiles(rows: Sequence[Row], groups: Sequence[PlatformCells]) -> tuple[Tile, ...]:
    cells = [cell for group in groups for cell in group.cells.values()]
    numbered = [cell for cell in cells if cell.with_number]
    verified = sum(1 for cell in numbered if cell.verified)
    frameworks = {impl.framework for impl in all_implementations(groups)}
    models = {workload.model for group in groups for workload in group.workloads}
    return (
        Tile(f"{len(cells):,}", "cells asked for"),
        Tile(f"{len(numbered):,}", "have a time"),
        Tile(f"{verified:,}", "of these proven"),
        Tile(f"{len(frameworks):,}", "frameworks" if len(frameworks) != 1 else "framework"),
        Tile(f"{len(models):,}", "models" if len(models) != 1 else "model"),
    )


def summary(
    rows: Sequence[Row], groups: Sequence[PlatformCells], why: Sequence[Reason], planned: int
) -> tuple[Sentence, ...]:
    """planned: how many runs there are to be, 0 if that is not known."""
    return (
        *_disturbed(rows),
        Sentence(_what(rows, groups)),
        *_unfinished(rows, planned),
        *_proof(groups),
        *_checks(groups),
        *_surprises(why),
        *(Sentence(text) for text in _fastest(groups)),
        *_missing(why),
        *_doubts(rows, groups),
        *_outliers(rows),
    )


def _what(rows: Sequence[Row], groups: Sequence[PlatformCells]) -> str:
    implementations = all_implementations(groups)
    frameworks = list(dict.fromkeys(impl.framework for impl in implementations))
    models = {workload.model for group in groups for workload in group.workloads}
    nodes = {row["node_id"] for row in rows if row["node_id"]}
    ran = f"{listed(frameworks)} ({counted(len(implementations), 'variant')})"
    where = f" on {counted(len(nodes), 'node')}" if nodes else " on no node"
    return f"{ran} ran {counted(len(models), 'model')}{where}{_when(rows)}."


def _unfinished(rows: Sequence[Row], planned: int) -> Iterator[Sentence]:
    ended = len({(row["task_id"], row["repeat"]) for row in rows if row["status"] != "lost"})
    if planned > ended:
        left = counted(planned - ended, "run")
        yield Sentence(f"The sweep has not ended: {left} of {planned:,} missing.", is_warning=True)


def _when(rows: Sequence[Row]) -> str:
    begun = [row["started_at"] for row in rows if isinstance(row.get("started_at"), datetime)]
    ended = [row["finished_at"] for row in rows if isinstance(row.get("finished_at"), datetime)]
    if not begun or not ended:
        return ""
    first, last = min(map(_time, begun)), max(map(_time, ended))
    minutes = (last - first).total_seconds() / MINUTE_S
    lasted = f"{minutes / 60:.1f} hours" if minutes >= 120 else f"{minutes:.0f} minutes"
    return f", begun {first:%d %B %Y, %H:%M} UTC, in {lasted}"


def _time(value: object) -> datetime:
    return value if isinstance(value, datetime) else datetime.min.replace(tzinfo=UTC)


def _proof(groups: Sequence[PlatformCells]) -> Iterator[Sentence]:
    cells = [cell for group in groups for cell in group.cells.values()]
    numbered = [cell for cell in cells if cell.with_number]
    unproven = sum(1 for cell in numbered if not cell.verified)
    told = f"{len(numbered):,} of {counted(len(cells), 'cell')} have a time"
    if not numbered:
        yield Sentence("No cell has a time.", is_warning=True)
    elif unproven:
        yield Sentence(f"{told}; {unproven:,} of them without proof.", is_warning=True)
    else:
        proof = "loss and every gradient agree with the float64 reference"
        yield Sentence(f"{told}; for each of them {proof}.")


def _checks(groups: Sequence[PlatformCells]) -> Iterator[Sentence]:
    """Where a check decided nothing, or none was kept."""
    cells = [cell for group in groups for cell in group.cells.values()]
    for told in describe_undecided_checks([cell.proof for cell in cells if cell.with_number]):
        yield Sentence(told[0].upper() + told[1:] + ".")


def _fastest(groups: Sequence[PlatformCells]) -> Iterator[str]:
    for group in [group for group in groups if len(group.implementations) > 1][:MOST_BLOCKS]:
        leads: Counter[str] = Counter()
        clear: Counter[str] = Counter()
        for workload in group.workloads:
            if leader := _leader(group, workload):
                impl, is_clear = leader
                leads[impl] += 1
                clear[impl] += is_clear
        if not leads:
            continue
        told = [
            f"{impl} in {count}{_clearly(clear[impl], count)}"
            for impl, count in leads.most_common(4)
        ]
        where = f"{format_hardware(group.platform)}, {format_platform(group.platform)}"
        lines = counted(sum(leads.values()), "line")
        yield f"Lowest gradient time on {where}, of {lines}: {', '.join(told)}."


def _clearly(clear: int, count: int) -> str:
    if clear == count:
        return ""
    return f" ({clear or 'none'} of {count} clearly)"


def _leader(group: PlatformCells, workload: Workload) -> tuple[str, bool] | None:
    """Of a line with two numbers or more: the lowest, and whether its interval meets no other."""
    phase = "gradient" if lowest(group, workload, "gradient") else "forward"
    best = lowest(group, workload, phase)
    times = {
        impl: time
        for impl in group.implementations
        if (cell := group.cells.get((workload, impl))) and (time := getattr(cell, phase))
    }
    if best is None or len(times) < 2:
        return None
    leader = min(times, key=lambda impl: times[impl].median_ns)
    others = [time for impl, time in times.items() if impl != leader]
    return leader.label, all(are_apart(time, best) for time in others)


def _surprises(why: Sequence[Reason]) -> Iterator[Sentence]:
    told = [one for one in why if one.is_unexpected]
    if told:
        count = sum(one.count for one in told)
        yield Sentence(
            f"{counted(count, 'cell')} did not end as expected: {_reasons(told)}.", is_warning=True
        )


def _missing(why: Sequence[Reason]) -> Iterator[Sentence]:
    told = [one for one in why if not one.is_unexpected]
    if told:
        count = sum(one.count for one in told)
        yield Sentence(
            f"{counted(count, 'cell')} ended without a time as expected: {_reasons(told)}."
        )


def _reasons(why: Sequence[Reason]) -> str:
    told = [
        f"{one.count:,} {one.status} ({cut(one.text, LONGEST_REASON)})"
        for one in why[:MOST_REASONS]
    ]
    more = len(why) - len(told)
    return "; ".join([*told, *([f"{counted(more, 'reason')} more"] if more else [])])


def _doubts(rows: Sequence[Row], groups: Sequence[PlatformCells]) -> Iterator[Sentence]:
    cells: list[CellResult] = [cell for group in groups for cell in group.cells.values()]
    unsettled = sum(1 for cell in cells if cell.with_number and not cell.is_stable)
    if unsettled:
        yield Sentence(
            f"In {counted(unsettled, 'cell')} a time did not settle (~); the reason stands with it."
        )
    times = [time for cell in cells for time in cell.times]
    bare = sum(1 for time in times if time.bounds is None)
    if bare:
        has = "has" if bare == 1 else "have"
        yield Sentence(
            f"{bare:,} of {counted(len(times), 'time')} {has} no interval: it takes {FEWEST} "
            f"processes, or {FEWEST} other sweeps or canaries that tell how processes "
            "differ. What is faster by little there may be so by chance."
        )


def _disturbed(rows: Sequence[Row]) -> Iterator[Sentence]:
    if told := describe_interference(rows):
        yield Sentence(f"{told}.", is_warning=True)


def _outliers(rows: Sequence[Row]) -> Iterator[Sentence]:
    told = outliers_text.summarize_outliers(find_outliers(collect_task_times(rows)))
    if told:
        yield Sentence(told[0].upper() + told[1:] + ".", is_warning=True)
