"""What a sweep showed, in sentences: what ran, what is proven, who is fastest, what is missing."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from velodrome.scheduler.reports import outliers_text
from velodrome.scheduler.reports.cells import Cell, Course
from velodrome.scheduler.reports.html.formatting import (
    block_name,
    counted,
    cut,
    hardware_name,
    listed,
)
from velodrome.scheduler.reports.html.grid import are_apart, lowest
from velodrome.scheduler.reports.html.grouped_rows import Group, all_contestants
from velodrome.scheduler.reports.html.missing_values import Reason
from velodrome.scheduler.reports.interference_summary import headline
from velodrome.scheduler.reports.outliers import find_outliers, heats
from velodrome.scheduler.reports.proof import remarks
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


def tiles(rows: Sequence[Row], groups: Sequence[Group]) -> tuple[Tile, ...]:
    cells = [cell for group in groups for cell in group.cells.values()]
    numbered = [cell for cell in cells if cell.with_number]
    verified = sum(1 for cell in numbered if cell.verified)
    frameworks = {who.framework for who in all_contestants(groups)}
    models = {course.model for group in groups for course in group.courses}
    return (
        Tile(f"{len(cells):,}", "cells asked for"),
        Tile(f"{len(numbered):,}", "have a time"),
        Tile(f"{verified:,}", "of these proven"),
        Tile(f"{len(frameworks):,}", "frameworks" if len(frameworks) != 1 else "framework"),
        Tile(f"{len(models):,}", "models" if len(models) != 1 else "model"),
    )


def summary(
    rows: Sequence[Row], groups: Sequence[Group], why: Sequence[Reason], planned: int
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


def _what(rows: Sequence[Row], groups: Sequence[Group]) -> str:
    contestants = all_contestants(groups)
    frameworks = list(dict.fromkeys(who.framework for who in contestants))
    models = {course.model for group in groups for course in group.courses}
    nodes = {row["node_id"] for row in rows if row["node_id"]}
    ran = f"{listed(frameworks)} ({counted(len(contestants), 'variant')})"
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


def _proof(groups: Sequence[Group]) -> Iterator[Sentence]:
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


def _checks(groups: Sequence[Group]) -> Iterator[Sentence]:
    """Where a check decided nothing, or none was kept."""
    cells = [cell for group in groups for cell in group.cells.values()]
    for told in remarks([cell.proof for cell in cells if cell.with_number]):
        yield Sentence(told[0].upper() + told[1:] + ".")


def _fastest(groups: Sequence[Group]) -> Iterator[str]:
    for group in [group for group in groups if len(group.contestants) > 1][:MOST_BLOCKS]:
        leads: Counter[str] = Counter()
        clear: Counter[str] = Counter()
        for course in group.courses:
            if leader := _leader(group, course):
                who, is_clear = leader
                leads[who] += 1
                clear[who] += is_clear
        if not leads:
            continue
        told = [
            f"{who} in {count}{_clearly(clear[who], count)}" for who, count in leads.most_common(4)
        ]
        where = f"{hardware_name(group.block)}, {block_name(group.block)}"
        lines = counted(sum(leads.values()), "line")
        yield f"Lowest gradient time on {where}, of {lines}: {', '.join(told)}."


def _clearly(clear: int, count: int) -> str:
    if clear == count:
        return ""
    return f" ({clear or 'none'} of {count} clearly)"


def _leader(group: Group, course: Course) -> tuple[str, bool] | None:
    """Of a line with two numbers or more: the lowest, and whether its interval meets no other."""
    phase = "gradient" if lowest(group, course, "gradient") else "forward"
    best = lowest(group, course, phase)
    times = {
        who: time
        for who in group.contestants
        if (cell := group.cells.get((course, who))) and (time := getattr(cell, phase))
    }
    if best is None or len(times) < 2:
        return None
    leader = min(times, key=lambda who: times[who].median_ns)
    others = [time for who, time in times.items() if who != leader]
    return leader.label, all(are_apart(time, best) for time in others)


def _surprises(why: Sequence[Reason]) -> Iterator[Sentence]:
    told = [one for one in why if one.is_surprise]
    if told:
        count = sum(one.count for one in told)
        yield Sentence(
            f"{counted(count, 'cell')} did not end as expected: {_reasons(told)}.", is_warning=True
        )


def _missing(why: Sequence[Reason]) -> Iterator[Sentence]:
    told = [one for one in why if not one.is_surprise]
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


def _doubts(rows: Sequence[Row], groups: Sequence[Group]) -> Iterator[Sentence]:
    cells: list[Cell] = [cell for group in groups for cell in group.cells.values()]
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
    if told := headline(rows):
        yield Sentence(f"{told}.", is_warning=True)


def _outliers(rows: Sequence[Row]) -> Iterator[Sentence]:
    told = outliers_text.line(find_outliers(heats(rows)))
    if told:
        yield Sentence(told[0].upper() + told[1:] + ".", is_warning=True)
