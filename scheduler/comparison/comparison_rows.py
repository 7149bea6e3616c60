"""Rows of a comparison: for its table, and for JSON and CSV."""

import math
from collections.abc import Iterable, Sequence

from velodrome.scheduler.comparison.cell_names import CellNames
from velodrome.scheduler.comparison.matching import CellPair, RefusedPair, Rows
from velodrome.scheduler.comparison.outcome import ComparisonOutcome
from velodrome.scheduler.comparison.verdicts import StatusChange, TimeComparison
from velodrome.scheduler.reports.cell_times import format_duration
from velodrome.scheduler.results.typed_rows import TaskRow
from velodrome.scheduler.statistics.canary_attribution import ChangeSource
from velodrome.scheduler.statistics.ratio_tests import Verdict

MARKS = {Verdict.SLOWER: "▲", Verdict.FASTER: "▼", Verdict.UNDECIDED: "?"}
ALIKE = "="
UNSTABLE = "~"
NOT_COMPARABLE, VANISHED, APPEARED = "not comparable", "vanished", "appeared"

_CELL_COLUMNS = (
    "framework",
    "variant",
    "model",
    "batch_size",
    "device",
    "gpu_count",
    "gpu_model",
    "threads",
    "dtype",
    "node_type",
    "cpu_model",
    "gpu_name",
)
_NUMBERS = (
    "phase",
    "base_ns",
    "candidate_ns",
    "ratio",
    "ratio_low",
    "ratio_high",
    "p",
    "rank_p",
    "alike",
    "stable",
    "base_repeats",
    "candidate_repeats",
    "unit",
    "base_units",
    "candidate_units",
    "past_sweeps",
    "ratio_error",
    "unpaired_error",
    "paired_error",
    "degrees",
    "smallest_step",
    "blame",
    "blame_reason",
)
COLUMNS = ("verdict", *_CELL_COLUMNS, *_NUMBERS, "reason")


def table_rows(duels: Sequence[TimeComparison], names: CellNames) -> list[dict[str, str]]:
    """Build rows of text, narrow enough for 80 columns."""
    return [
        {
            "verdict": format_verdict(duel),
            "cell": f"{names.short(duel.pair.candidate[0])} {duel.phase}",
            "base": format_duration(duel.base.median_ns),
            "candidate": format_duration(duel.candidate.median_ns),
            "ratio": f"{duel.comparison.ratio:.3f}x",
            "interval": format_interval(duel.comparison.low, duel.comparison.high, "-"),
        }
        for duel in duels
    ]


def flat_rows(outcome: ComparisonOutcome) -> list[dict[str, object]]:
    """Build a row per compared time and per cell that could not be compared. ns per call.

    A field that differs between the sides is shown as `eager -> compile`.
    """
    rows = [_pair(duel.verdict.value, duel.pair) | _numbers(duel) for duel in outcome.times]
    rows += [_changed(change) for change in outcome.changes]
    rows += [_refused(entry) for entry in outcome.refused]
    rows += [_unmatched(VANISHED, group) for group in outcome.vanished]
    rows += [_unmatched(APPEARED, group) for group in outcome.appeared]
    return [{name: row.get(name) for name in COLUMNS} for row in rows]


def format_verdict(duel: TimeComparison) -> str:
    """Format a verdict with a mark and its cause: `▲ slower: machine`.

    `=` means equal within the practical minimum, with confidence.
    """
    mark = ALIKE if not duel.has_moved and duel.comparison.is_alike else MARKS[duel.verdict]
    unsettled = "" if duel.is_stable else f" {UNSTABLE}"
    cause = duel.attribution.cause if duel.attribution else ChangeSource.UNKNOWN
    by = "" if cause is ChangeSource.UNKNOWN else f": {cause.value}"
    return f"{mark} {duel.verdict.value}{by}{unsettled}"


def format_interval(low: float, high: float, between: str = " to ") -> str:
    return f"{low:.3f}{between}{high:.3f}" if math.isfinite(high) else "not known"


def _pair(outcome: str, pair: CellPair) -> dict[str, object]:
    return {"verdict": outcome} | {name: _both(pair, name) for name in _CELL_COLUMNS}


def _both(pair: CellPair, name: str) -> object:
    base, candidate = _values(pair.base, name), _values(pair.candidate, name)
    if base == candidate and len(base) == 1:
        value: object = getattr(pair.candidate[0], name)
        return value if isinstance(value, int) else base[0]
    sides = [", ".join(values) for values in (base, candidate)]
    return sides[0] if base == candidate else " -> ".join(sides)


def _values(rows: Iterable[TaskRow], name: str) -> list[str]:
    return sorted({row.text(name) for row in rows})


def _numbers(duel: TimeComparison) -> dict[str, object]:
    compared = duel.comparison
    return {
        "phase": duel.phase,
        "base_ns": duel.base.median_ns,
        "candidate_ns": duel.candidate.median_ns,
        "ratio": compared.ratio,
        "ratio_low": compared.low if math.isfinite(compared.high) else None,
        "ratio_high": compared.high if math.isfinite(compared.high) else None,
        "p": compared.p,
        "rank_p": compared.rank_p,
        "alike": compared.is_alike,
        "stable": duel.is_stable,
        "base_repeats": compared.base_repeats,
        "candidate_repeats": compared.candidate_repeats,
        "unit": compared.unit.value,
        "base_units": compared.base_units,
        "candidate_units": compared.candidate_units,
        "past_sweeps": compared.past_sweeps,
        "ratio_error": compared.error if compared.degrees else None,
        "unpaired_error": compared.unpaired_error,
        "paired_error": compared.paired_error,
        "degrees": compared.degrees or None,
        "smallest_step": compared.smallest_step,
        "reason": compared.reason or None,
        "blame": duel.attribution.cause.value if duel.attribution else None,
        "blame_reason": duel.attribution.reason if duel.attribution else None,
    }


def _changed(change: StatusChange) -> dict[str, object]:
    turned = f"{change.base} -> {change.candidate}"
    reason = f"{turned}: {change.reason}" if change.reason else turned
    return _pair(change.turn.value, change.pair) | {"reason": reason}


def _refused(entry: RefusedPair) -> dict[str, object]:
    reason = "; ".join(mismatch.text for mismatch in entry.mismatches)
    return _pair(NOT_COMPARABLE, entry.pair) | {"reason": reason}


def _unmatched(outcome: str, rows: Rows) -> dict[str, object]:
    return _pair(outcome, CellPair(rows, rows))
