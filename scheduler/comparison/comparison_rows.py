"""Rows of a comparison: for its table, and for JSON and CSV."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

from velodrome.scheduler.comparison.cell_names import CellNames
from velodrome.scheduler.comparison.fingerprints import HARDWARE
from velodrome.scheduler.comparison.matching import CellPair, RefusedPair, Rows
from velodrome.scheduler.comparison.outcome import ComparisonOutcome
from velodrome.scheduler.comparison.verdicts import StatusChange, TimeComparison
from velodrome.scheduler.reports.cell_rates import UNKNOWN_WORK, format_amount
from velodrome.scheduler.reports.cell_times import format_duration
from velodrome.scheduler.reports.cell_work import GridUnit, name_line_unit, read_work
from velodrome.scheduler.results.typed_rows import TaskRow
from velodrome.scheduler.statistics.canary_attribution import ChangeSource
from velodrome.scheduler.statistics.geometric_means import Mean
from velodrome.scheduler.statistics.ratio_tests import Comparison, Verdict
from velodrome.scheduler.statistics.replication import ReplicatedTime
from velodrome.scheduler.sweeps.conditions import FIELDS

MARKS = {Verdict.SLOWER: "▲", Verdict.FASTER: "▼", Verdict.UNDECIDED: "?"}
OTHER_VERDICTS = {Verdict.SLOWER: "worse", Verdict.FASTER: "better"}
ALIKE = "="
UNSTABLE = "~"
NOT_COMPARABLE, VANISHED, APPEARED = "not comparable", "vanished", "appeared"

_CELL_COLUMNS = (*(name for name in FIELDS if name != "seed"), *HARDWARE)


def table_rows(
    times: Sequence[TimeComparison], names: CellNames, unit: GridUnit = GridUnit.TIME
) -> list[dict[str, str]]:
    """Build rows of text, narrow enough for 80 columns. ratio: of times, or of rates."""
    return [
        {
            "verdict": format_verdict(time, unit),
            "cell": f"{names.format_short(time.pair.candidate[0])} {time.phase}"
            + name_line_unit([read_work(time.pair.candidate)], unit),
            "base": _format_side(time.base, time.pair.base, time.phase, unit),
            "candidate": _format_side(time.candidate, time.pair.candidate, time.phase, unit),
            **_format_ratio(time.comparison, unit),
        }
        for time in times
    ]


def have_equal_work(times: Iterable[TimeComparison]) -> bool:
    """Return True if both sides do the same work, so that a faster time is a higher rate."""
    return all(
        read_work(time.pair.base).units == read_work(time.pair.candidate).units for time in times
    )


def _format_side(time: ReplicatedTime, rows: Rows, phase: str, unit: GridUnit) -> str:
    if unit is GridUnit.TIME:
        return format_duration(time.median_ns)
    if not unit.is_of_times:
        return format_amount(_turn(time.median_ns, unit), unit)
    amount = read_work(rows).amount(unit, phase)
    return format_amount(amount / time.median_ns * 1e9, unit) if amount else UNKNOWN_WORK


def turn_ratio(ratio: float, low: float, high: float, unit: GridUnit) -> tuple[float, float, float]:
    """Return a ratio of times and its bounds as those of a unit: turned over for rates."""
    if not unit.is_rate:
        return ratio, low, high
    return 1 / ratio, 1 / high, 1 / low if low > 0 else math.inf


def turn_mean(mean: Mean, unit: GridUnit) -> Mean:
    """Return a mean of ratios of times as that of a unit."""
    return Mean(*turn_ratio(mean.ratio, mean.low, mean.high, unit), mean.count)


def _turn(value: float, unit: GridUnit) -> float:
    """Return the value of a quantity from what was compared, which is low where it is good."""
    return 1 / value if unit is GridUnit.MFU else value


def _format_ratio(comparison: Comparison, unit: GridUnit) -> dict[str, str]:
    ratio, low, high = turn_ratio(comparison.ratio, comparison.low, comparison.high, unit)
    return {"ratio": f"{ratio:.3f}x", "interval": format_interval(low, high, "-")}


def build_flat_rows(outcome: ComparisonOutcome) -> list[dict[str, object]]:
    """Build a row per compared time and per cell that could not be compared. ns per call.

    A field that differs between the sides is shown as `eager -> compile`. Of another quantity than
    times, its values replace the ns. `ratio` is the candidate's over the base's; `better` says
    whether a higher or a lower one is better.
    """
    rows = [
        _describe_pair(name_verdict(time.verdict, outcome.quantity), time.pair)
        | _list_times(time, outcome.quantity)
        | _list_values_of(time, outcome.quantity)
        for time in outcome.times
    ]
    rows += [_build_changed_row(change) for change in outcome.changes]
    rows += [_build_refused_row(entry) for entry in outcome.refused]
    rows += [_build_unmatched_row(VANISHED, group) for group in outcome.vanished]
    rows += [_build_unmatched_row(APPEARED, group) for group in outcome.appeared]
    return [{name: row.get(name) for name in COLUMNS} for row in rows]


def name_better(quantity: GridUnit) -> str:
    """Name the direction that is better of what was compared: `lower`, `higher` of MFU."""
    return "higher" if quantity.is_rate else "lower"


def name_verdict(verdict: Verdict, quantity: GridUnit) -> str:
    """Name a verdict: `slower` and `faster` of times, `worse` and `better` of other quantities."""
    return verdict.value if quantity.is_of_times else OTHER_VERDICTS.get(verdict, verdict.value)


def format_verdict(time: TimeComparison, unit: GridUnit = GridUnit.TIME) -> str:
    """Format a verdict with a mark and its cause: `▲ slower: machine`.

    `=` means equal within the practical minimum, with confidence.
    """
    mark = ALIKE if not time.has_moved and time.comparison.is_alike else MARKS[time.verdict]
    unstable = "" if time.is_stable else f" {UNSTABLE}"
    cause = time.attribution.cause if time.attribution else ChangeSource.UNKNOWN
    source = "" if cause is ChangeSource.UNKNOWN else f": {cause.value}"
    return f"{mark} {name_verdict(time.verdict, unit)}{source}{unstable}"


def format_interval(low: float, high: float, between: str = " to ") -> str:
    return f"{low:.3f}{between}{high:.3f}" if math.isfinite(high) else "not known"


def _describe_pair(outcome: str, pair: CellPair) -> dict[str, object]:
    return {"verdict": outcome} | {name: _format_both(pair, name) for name in _CELL_COLUMNS}


def _format_both(pair: CellPair, name: str) -> object:
    base, candidate = _list_values(pair.base, name), _list_values(pair.candidate, name)
    if base == candidate and len(base) == 1:
        value: object = getattr(pair.candidate[0], name)
        return value if isinstance(value, int) else base[0]
    sides = [", ".join(values) for values in (base, candidate)]
    return sides[0] if base == candidate else " -> ".join(sides)


def _list_values(rows: Iterable[TaskRow], name: str) -> list[str]:
    return sorted({row.text(name) for row in rows})


_TIME_FIELDS: Mapping[str, Callable[[TimeComparison], object]] = {
    "phase": lambda time: time.phase,
    "quantity": lambda time: GridUnit.TIME.value,
    "base_value": lambda time: None,
    "candidate_value": lambda time: None,
    "base_ns": lambda time: time.base.median_ns,
    "candidate_ns": lambda time: time.candidate.median_ns,
    "ratio": lambda time: None,  # these follow from the quantity
    "ratio_low": lambda time: None,
    "ratio_high": lambda time: None,
    "better": lambda time: None,
    "p": lambda time: time.comparison.p,
    "rank_p": lambda time: time.comparison.rank_p,
    "alike": lambda time: time.comparison.is_alike,
    "stable": lambda time: time.is_stable,
    "base_repeats": lambda time: time.comparison.base_repeats,
    "candidate_repeats": lambda time: time.comparison.candidate_repeats,
    "unit": lambda time: time.comparison.unit.value,
    "base_units": lambda time: time.comparison.base_units,
    "candidate_units": lambda time: time.comparison.candidate_units,
    "past_sweeps": lambda time: time.comparison.past_sweeps,
    "ratio_error": lambda time: time.comparison.error if time.comparison.degrees else None,
    "unpaired_error": lambda time: time.comparison.unpaired_error,
    "paired_error": lambda time: time.comparison.paired_error,
    "degrees": lambda time: time.comparison.degrees or None,
    "smallest_step": lambda time: time.comparison.smallest_step,
    "reason": lambda time: time.comparison.reason or None,
    "attribution": lambda time: time.attribution.cause.value if time.attribution else None,
    "attribution_reason": lambda time: time.attribution.reason if time.attribution else None,
}
COLUMNS = (
    "verdict",
    *_CELL_COLUMNS,
    *(name for name in _TIME_FIELDS if name != "reason"),
    "reason",
)


def _list_times(time: TimeComparison, quantity: GridUnit) -> dict[str, object]:
    compared = time.comparison
    ratio, low, high = turn_ratio(compared.ratio, compared.low, compared.high, quantity)
    has_interval = math.isfinite(compared.high)
    return {name: read(time) for name, read in _TIME_FIELDS.items()} | {
        "ratio": ratio,
        "ratio_low": low if has_interval else None,
        "ratio_high": high if has_interval else None,
        "better": name_better(quantity),
    }


def _list_values_of(time: TimeComparison, quantity: GridUnit) -> dict[str, object]:
    """Return the values of a quantity that is no time, in place of its ns."""
    if quantity is GridUnit.TIME:
        return {}
    return {
        "quantity": quantity.value,
        "base_value": _turn(time.base.median_ns, quantity),
        "candidate_value": _turn(time.candidate.median_ns, quantity),
        "base_ns": None,
        "candidate_ns": None,
    }


def _build_changed_row(change: StatusChange) -> dict[str, object]:
    turned = f"{change.base} -> {change.candidate}"
    reason = f"{turned}: {change.reason}" if change.reason else turned
    return _describe_pair(change.turn.value, change.pair) | {"reason": reason}


def _build_refused_row(entry: RefusedPair) -> dict[str, object]:
    reason = "; ".join(mismatch.text for mismatch in entry.mismatches)
    return _describe_pair(NOT_COMPARABLE, entry.pair) | {"reason": reason}


def _build_unmatched_row(outcome: str, rows: Rows) -> dict[str, object]:
    return _describe_pair(outcome, CellPair(rows, rows))
