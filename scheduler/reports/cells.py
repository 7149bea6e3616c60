"""The cells of a report: rows of the `tasks` table, gathered over repeats.

A cell's time is the median over its repeats (each a fresh process) of the repeat's median, with the
95 % interval that velodrome.scheduler.statistics.replication makes of how much the repeats differ;
of one repeat, that repeat's own. Whether that is well enough known, steadiness says.
"""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from velodrome.agents.measurement import Status
from velodrome.scheduler.reports.proof import NO_RUNS, Proof, proof_of
from velodrome.scheduler.reports.task_rows import (
    Row,
    expected,
    is_surprise,
    last_attempts,
    notes_of,
    plain_command,
)
from velodrome.scheduler.results.plain_text import in_one_line
from velodrome.scheduler.statistics.replication import Repeat, across
from velodrome.scheduler.statistics.steadiness import Steadiness, steadiness


@dataclass(frozen=True)
class Time:
    """ns per call: median and the bounds around it."""

    median_ns: float
    low_ns: float
    high_ns: float

    @property
    def half_width(self) -> float:
        """The larger distance from the median to a bound, over the median."""
        if not self.median_ns > 0:  # no clock has measured that
            return float("nan")
        return max(self.high_ns - self.median_ns, self.median_ns - self.low_ns) / self.median_ns


@dataclass(frozen=True, order=True)
class Block:
    """What cells must share to stand in one table: the same node type, device, threads, type."""

    node_type: str
    hardware: str
    device: str
    threads: int
    dtype: str


@dataclass(frozen=True, order=True)
class Contestant:
    """One way to run a framework."""

    framework: str
    variant: str

    @property
    def label(self) -> str:
        return f"{self.framework} {self.variant}"


@dataclass(frozen=True, order=True)
class Course:
    """One model at one batch size."""

    model: str
    batch_size: int


@dataclass(frozen=True)
class Cell:
    """A number or a reason, never neither. repeats: how many ended; with_number: were timed.

    doubt: why it is not stable. more_repeats: how many more should make it so, None: untold.
    expected: in words, where it is not simply that it agrees. notes: of all repeats, each once.
    """

    status: Status
    reason: str
    rerun: str
    repeats: int
    with_number: int
    verified: bool
    stable: bool
    forward: Time | None = None
    gradient: Time | None = None
    peak_rss_bytes: int | None = None
    cpu_percent_mean: float | None = None
    gradient_error: float | None = None
    is_surprise: bool = False
    expected: str = ""
    notes: tuple[str, ...] = ()
    doubt: str = ""
    more_repeats: int | None = None
    proof: Proof = NO_RUNS


def gather(rows: Iterable[Row]) -> dict[Block, dict[tuple[Course, Contestant], Cell]]:
    """Every cell of the rows, by block. Lost attempts that a later one made good are left out."""
    found: dict[Block, dict[tuple[Course, Contestant], list[Row]]] = {}
    for row in last_attempts(rows):
        places = found.setdefault(block_of(row), {})
        places.setdefault((course_of(row), contestant_of(row)), []).append(row)
    return {
        block: {place: _cell(group) for place, group in places.items()}
        for block, places in sorted(found.items())
    }


def best(
    cells: Mapping[tuple[Course, Contestant], Cell], course: Course, phase: str
) -> float | None:
    """The lowest median of a course in ns, None when no cell has a number."""
    times = [getattr(cell, phase) for place, cell in cells.items() if place[0] == course]
    return min((time.median_ns for time in times if time), default=None)


def combine(times: Sequence[Time]) -> Time | None:
    """Over repeats: the median of medians, and the interval of their spread."""
    if not times:
        return None
    if not all(time.low_ns > 0 for time in times):  # no clock has measured that: no logarithm
        return Time(
            statistics.median(time.median_ns for time in times),
            min(time.low_ns for time in times),
            max(time.high_ns for time in times),
        )
    found = across([_repeat(time) for time in times])
    return Time(found.median_ns, found.low_ns, found.high_ns)


def add(times: Sequence[Time]) -> Time:
    """The sum of the parts of a family; bounds add, as if all erred to the same side."""
    return Time(
        sum(time.median_ns for time in times),
        sum(time.low_ns for time in times),
        sum(time.high_ns for time in times),
    )


def block_of(row: Row) -> Block:
    device = in_one_line(row["device"])
    hardware = in_one_line(row["gpu_name"] if device == "gpu" else row["cpu_model"])
    threads = int(str(row["threads"]))
    node_type, dtype = in_one_line(row["node_type"]), in_one_line(row["dtype"])
    return Block(node_type, hardware, device, threads, dtype)


def course_of(row: Row) -> Course:
    return Course(in_one_line(row["model"]), int(str(row["batch_size"])))


def contestant_of(row: Row) -> Contestant:
    return Contestant(in_one_line(row["framework"]), in_one_line(row["variant"]))


def _repeat(time: Time) -> Repeat:
    return Repeat(time.median_ns, time.low_ns, time.high_ns)


def _steadiness(rows: Sequence[Row]) -> Steadiness:
    """Of the gradient's time over repeats; of the forward time where there is no gradient."""
    found = [_time(row, "gradient") or _time(row, "forward") for row in rows]
    known = [_repeat(time) for time in found if time and time.low_ns > 0]
    if not known or len(known) < len(rows):
        return Steadiness("a repeat has no time", None)
    return steadiness(known, sum(not row["stable"] for row in rows))


def _cell(rows: Sequence[Row]) -> Cell:
    timed = [row for row in rows if Status(str(row["status"])).has_number]
    told = min(rows, key=_importance)
    steady = _steadiness(timed)
    return Cell(
        status=Status(str(told["status"])),
        reason=in_one_line(told["reason"]),
        rerun=plain_command(told["rerun"]),
        repeats=len(rows),
        with_number=len(timed),
        verified=bool(timed) and all(row["verified"] for row in timed),
        stable=steady.is_steady,
        doubt=steady.reason if timed else "",
        more_repeats=steady.more,
        forward=combine([time for row in timed if (time := _time(row, "forward"))]),
        gradient=combine([time for row in timed if (time := _time(row, "gradient"))]),
        peak_rss_bytes=max((int(str(row["peak_rss_bytes"] or 0)) for row in timed), default=0)
        or None,
        cpu_percent_mean=_mean([row["cpu_percent_mean"] for row in timed]),
        gradient_error=max(
            (
                float(str(row["gradient_error"]))
                for row in rows
                if row["gradient_error"] is not None
            ),
            default=None,
        ),
        is_surprise=any(is_surprise(row) for row in rows),
        expected=expected(told),
        notes=tuple(dict.fromkeys(note for row in rows for note in notes_of(row))),
        proof=proof_of(rows),
    )


def _importance(row: Row) -> tuple[bool, bool]:
    """Which of several repeats is told of: one without a number, of these a surprise."""
    return Status(str(row["status"])).has_number, not is_surprise(row)


def _time(row: Row, phase: str) -> Time | None:
    values = [row[f"{phase}_{name}_ns"] for name in ("median", "low", "high")]
    if any(value is None for value in values):
        return None
    median, low, high = (float(str(value)) for value in values)
    return Time(median, low, high)


def _mean(values: Sequence[object]) -> float | None:
    known = [float(str(value)) for value in values if value is not None]
    return statistics.fmean(known) if known else None
