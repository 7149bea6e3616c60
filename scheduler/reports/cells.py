"""The cells of a report: rows of the `tasks` table, gathered over repeats.

A cell's time is the median over its repeats (each a fresh process) of the repeat's median, with the
95 % interval that velodrome.scheduler.statistics.cell_interval finds for them; of few processes it
often finds none. Whether each phase is well enough known by itself, its doubt says.
"""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from velodrome.agents.measurement import Status
from velodrome.agents.task import device_name
from velodrome.scheduler.distinct_names import make_distinct
from velodrome.scheduler.reports.canary_spread import Canaries, measure_canary_variation, place_of
from velodrome.scheduler.reports.instability_reasons import describe_instability
from velodrome.scheduler.reports.proof import NO_RUNS, CellProof, summarize_proof
from velodrome.scheduler.reports.task_rows import (
    Row,
    describe_expectation,
    is_surprise,
    read_notes,
    read_rerun_command,
    select_last_attempts,
)
from velodrome.scheduler.results.sanitizing import in_one_line
from velodrome.scheduler.statistics.cell_interval import FEWEST, Known, claim
from velodrome.scheduler.statistics.replication import Repeat
from velodrome.scheduler.statistics.stability import Steadiness, steadiness

APART = "apart"  # a key of rows that we put there ourselves

History = Mapping[tuple[str, str, str], Known]  # by task, type of its node, and phase


@dataclass(frozen=True)
class Time:
    """ns per call: a median and the bounds of its 95 % interval, None where there is none to claim.

    apart: the largest process median over the smallest. source: of the interval, where it is not
    these processes themselves. doubt: why the median is not well known; empty if it is.
    """

    median_ns: float
    low_ns: float | None = None
    high_ns: float | None = None
    processes: int = 1
    apart: float = 1.0
    source: str = ""
    instability: str = ""

    @property
    def is_stable(self) -> bool:
        return not self.instability

    @property
    def bounds(self) -> tuple[float, float] | None:
        if self.low_ns is None or self.high_ns is None:
            return None
        return self.low_ns, self.high_ns

    @property
    def half_width(self) -> float | None:
        """The larger distance from the median to a bound, over the median; None without bounds."""
        if self.bounds is None or not self.median_ns > 0:
            return None
        low_ns, high_ns = self.bounds
        return max(high_ns - self.median_ns, self.median_ns - low_ns) / self.median_ns


@dataclass(frozen=True, order=True)
class Platform:
    """What cells must share to stand in one table: the same node type, device, threads, type.

    gpu_count, gpu_model: of those that were asked for.
    """

    node_type: str
    hardware: str
    device: str
    threads: int
    dtype: str
    gpu_count: int = 0
    gpu_model: str = ""

    @property
    def device_name(self) -> str:
        return device_name(self.device, self.gpu_count, self.gpu_model)


@dataclass(frozen=True, order=True)
class Implementation:
    """One way to run a framework. apart: what tells it from another of the same name."""

    framework: str
    variant: str
    apart: str = ""

    @property
    def label(self) -> str:
        return f"{self.framework} {self.variant}{self.apart}"


@dataclass(frozen=True, order=True)
class Workload:
    """One model at one batch size."""

    model: str
    batch_size: int


@dataclass(frozen=True)
class CellResult:
    """A number or a reason, never neither. repeats: how many ended; with_number: were timed.

    more_repeats: how many more should make its time stable, None: untold.
    expected: in words, where it is not simply that it agrees. notes: of all repeats, each once.
    """

    status: Status
    reason: str
    rerun: str
    repeats: int
    with_number: int
    verified: bool
    forward: Time | None = None
    gradient: Time | None = None
    peak_rss_bytes: int | None = None
    cpu_percent_mean: float | None = None
    gradient_error: float | None = None
    is_surprise: bool = False
    expected: str = ""
    notes: tuple[str, ...] = ()
    more_repeats: int | None = None
    proof: CellProof = NO_RUNS

    @property
    def times(self) -> tuple[Time, ...]:
        return tuple(time for time in (self.forward, self.gradient) if time)

    @property
    def is_stable(self) -> bool:
        """Of every phase that was timed."""
        return bool(self.times) and all(time.is_stable for time in self.times)


def collect_cells(
    rows: Iterable[Row], history: History | None = None
) -> dict[Platform, dict[tuple[Workload, Implementation], CellResult]]:
    """Every cell of the rows, by block. Lost attempts that a later one made good are left out.

    history: how processes of its cells differed in other sweeps.
    """
    last = add_qualifiers(select_last_attempts(rows))
    canaries = measure_canary_variation(last)
    found: dict[Platform, dict[tuple[Workload, Implementation], list[Row]]] = {}
    for row in last:
        places = found.setdefault(read_platform(row), {})
        places.setdefault((read_workload(row), read_implementation(row)), []).append(row)
    return {
        platform: {place: _cell(group, history or {}, canaries) for place, group in places.items()}
        for platform, places in sorted(found.items())
    }


def find_best_ns(
    cells: Mapping[tuple[Workload, Implementation], CellResult], workload: Workload, phase: str
) -> float | None:
    """The lowest median of a course in ns, None when no cell has a number."""
    times = [getattr(cell, phase) for place, cell in cells.items() if place[0] == workload]
    return min((time.median_ns for time in times if time), default=None)


def combine_repeats(
    repeats: Sequence[Repeat], otherwise: Sequence[Known] = (), instability: str = ""
) -> Time:
    """Of at least one process. otherwise: what is known of how such processes differ."""
    medians = [repeat.median_ns for repeat in repeats]
    if not all(map(is_valid_repeat, repeats)):
        return Time(statistics.median(medians), processes=len(medians), instability=instability)
    found = claim(repeats, otherwise)
    return Time(
        statistics.median(medians),
        found.low_ns if found else None,
        found.high_ns if found else None,
        processes=len(medians),
        apart=max(medians) / min(medians),
        source=found.source if found else "",
        instability=instability,
    )


def add_times(times: Sequence[Time]) -> Time:
    """The sum of the parts of a family; bounds add, as if all erred to the same side."""
    bounds = [time.bounds for time in times if time.bounds]
    is_whole = len(bounds) == len(times)
    return Time(
        sum(time.median_ns for time in times),
        sum(low_ns for low_ns, _ in bounds) if is_whole else None,
        sum(high_ns for _, high_ns in bounds) if is_whole else None,
        processes=min(time.processes for time in times),
        apart=max(time.apart for time in times),
        source=next((time.source for time in times if time.source), ""),
        instability=next((time.instability for time in times if time.instability), ""),
    )


def read_platform(row: Row) -> Platform:
    device = in_one_line(row["device"])
    hardware = in_one_line(row["gpu_name"] if device == "gpu" else row["cpu_model"])
    threads = int(str(row["threads"]))
    node_type, dtype = in_one_line(row["node_type"]), in_one_line(row["dtype"])
    gpu_count, gpu_model = int(str(row.get("gpu_count") or 0)), in_one_line(row.get("gpu_model"))
    return Platform(node_type, hardware, device, threads, dtype, gpu_count, gpu_model)


def read_workload(row: Row) -> Workload:
    return Workload(in_one_line(row["model"]), int(str(row["batch_size"])))


def read_implementation(row: Row) -> Implementation:
    apart = str(row.get(APART, ""))
    return Implementation(in_one_line(row["framework"]), in_one_line(row["variant"]), apart)


def add_qualifiers(rows: Sequence[Row]) -> list[Row]:
    """The rows; those of several tasks in one place know what tells their contestants apart.

    A sweep has such where it was gone on with by other locks, say.
    """
    tasks: dict[tuple[Platform, Workload, Implementation], dict[object, Row]] = {}
    for row in rows:
        place = (read_platform(row), read_workload(row), read_implementation(row))
        tasks.setdefault(place, {}).setdefault(row["task_id"], row)
    apart: dict[object, str] = {}
    for alike in (found for found in tasks.values() if len(found) > 1):
        names = make_distinct(
            dict.fromkeys(alike, ""), {key: _setting(alike[key]) for key in alike}
        )
        still = make_distinct(names, {key: {"task": in_one_line(key)} for key in alike})
        apart |= still
    return [
        {**row, APART: apart[row["task_id"]]} if row["task_id"] in apart else row for row in rows
    ]


def _setting(row: Row) -> dict[str, str]:
    """What else may differ between tasks, by the words for it."""
    words = {"seed": "seed", "exclusive": "exclusive", "environment_hash": "environment"}
    return {word: in_one_line(row.get(column)) for column, word in words.items()}


def _cell(rows: Sequence[Row], history: History, canaries: Canaries) -> CellResult:
    timed = [row for row in rows if Status(str(row["status"])).has_number]
    told = min(rows, key=_importance)
    forward = _phase(timed, "forward", history, canaries)
    gradient = _phase(timed, "gradient", history, canaries)
    return CellResult(
        status=Status(str(told["status"])),
        reason=in_one_line(told["reason"]),
        rerun=read_rerun_command(told["rerun"]),
        repeats=len(rows),
        with_number=len(timed),
        verified=bool(timed) and all(row["verified"] for row in timed),
        more_repeats=_steadiness(timed, "gradient" if gradient else "forward").more,
        forward=forward,
        gradient=gradient,
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
        expected=describe_expectation(told),
        notes=tuple(dict.fromkeys(note for row in rows for note in read_notes(row))),
        proof=summarize_proof(rows),
    )


def _phase(rows: Sequence[Row], phase: str, history: History, canaries: Canaries) -> Time | None:
    repeats = _repeats(rows, phase)
    if not repeats:
        return None
    instability = describe_instability(rows, phase) or _steadiness(rows, phase).reason
    return combine_repeats(repeats, _known(rows, phase, history, canaries), instability)


def _steadiness(rows: Sequence[Row], phase: str) -> Steadiness:
    repeats = _repeats(rows, phase)
    if len(repeats) < len(rows) or not repeats or not all(map(is_valid_repeat, repeats)):
        return Steadiness("a repeat has no time", None)
    return Steadiness(more=None) if describe_instability(rows, phase) else steadiness(repeats)


def _known(
    rows: Sequence[Row], phase: str, history: History, canaries: Canaries
) -> tuple[Known, ...]:
    """What the cell's own past tells comes first."""
    first = rows[0]
    past = history.get((str(first["task_id"]), str(first["node_type"] or ""), phase))
    around = canaries.get(place_of(first))
    return tuple(one for one in (past, around) if one)


def _importance(row: Row) -> tuple[bool, bool]:
    """Which of several repeats is told of: one without a number, of these a surprise."""
    return Status(str(row["status"])).has_number, not is_surprise(row)


def _repeats(rows: Sequence[Row], phase: str) -> list[Repeat]:
    return [repeat for row in rows if (repeat := read_repeat(row, phase))]


def read_repeat(row: Row, phase: str) -> Repeat | None:
    """Of samples that claim no interval, the median alone."""
    median, low, high = (row[f"{phase}_{name}_ns"] for name in ("median", "low", "high"))
    if median is None:
        return None
    middle = float(str(median))
    samples = row.get(f"{phase}_samples")
    if low is None or high is None or (samples is not None and int(str(samples)) < FEWEST):
        return Repeat(middle, middle, middle)
    return Repeat(middle, float(str(low)), float(str(high)))


def is_valid_repeat(repeat: Repeat) -> bool:
    """Whether a clock can have measured that, and logarithms can be taken of it."""
    return 0 < repeat.low_ns <= repeat.median_ns <= repeat.high_ns < math.inf


def _mean(values: Sequence[object]) -> float | None:
    known = [float(str(value)) for value in values if value is not None]
    return statistics.fmean(known) if known else None
