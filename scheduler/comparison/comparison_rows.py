"""Rows of a comparison: for its table, and for JSON and CSV."""

import math
from collections.abc import Iterable, Sequence

from velodrome.scheduler.comparison.cell_names import Names
from velodrome.scheduler.comparison.matching import Pair, Refused, Rows
from velodrome.scheduler.comparison.outcome import Outcome
from velodrome.scheduler.comparison.verdicts import Change, Duel
from velodrome.scheduler.reports.tables import format_duration
from velodrome.scheduler.results.typed_rows import TaskRow
from velodrome.scheduler.statistics.canary_attribution import Cause as Blamed
from velodrome.scheduler.statistics.ratio_tests import Verdict

MARKS = {Verdict.SLOWER: "▲", Verdict.FASTER: "▼", Verdict.UNDECIDED: "?"}
ALIKE = "="
UNSETTLED = "~"
NOT_COMPARABLE, VANISHED, APPEARED = "not comparable", "vanished", "appeared"

_WHICH = (
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
COLUMNS = ("verdict", *_WHICH, *_NUMBERS, "reason")


def table_rows(duels: Sequence[Duel], names: Names) -> list[dict[str, str]]:
    """Build rows of text, narrow enough for 80 columns."""
    return [
        {
            "verdict": verdict(duel),
            "cell": f"{names.short(duel.pair.candidate[0])} {duel.phase}",
            "base": format_duration(duel.base.median_ns),
            "candidate": format_duration(duel.candidate.median_ns),
            "ratio": f"{duel.comparison.ratio:.3f}x",
            "interval": interval(duel.comparison.low, duel.comparison.high, "-"),
        }
        for duel in duels
    ]


def flat(outcome: Outcome) -> list[dict[str, object]]:
    """Build a row per compared time and per cell that could not be compared. ns per call.

    A field that differs between the sides is shown as `eager -> compile`.
    """
    rows = [_pair(duel.verdict.value, duel.pair) | _numbers(duel) for duel in outcome.duels]
    rows += [_changed(change) for change in outcome.changes]
    rows += [_refused(entry) for entry in outcome.refused]
    rows += [_alone(VANISHED, group) for group in outcome.vanished]
    rows += [_alone(APPEARED, group) for group in outcome.appeared]
    return [{name: row.get(name) for name in COLUMNS} for row in rows]


def verdict(duel: Duel) -> str:
    """Format a verdict with a mark and its cause: `▲ slower: machine`.

    `=` means equal within the practical minimum, with confidence.
    """
    mark = ALIKE if not duel.has_moved and duel.comparison.is_alike else MARKS[duel.verdict]
    unsettled = "" if duel.is_settled else f" {UNSETTLED}"
    cause = duel.blame.cause if duel.blame else Blamed.UNKNOWN
    by = "" if cause is Blamed.UNKNOWN else f": {cause.value}"
    return f"{mark} {duel.verdict.value}{by}{unsettled}"


def interval(low: float, high: float, between: str = " to ") -> str:
    return f"{low:.3f}{between}{high:.3f}" if math.isfinite(high) else "not known"


def _pair(outcome: str, pair: Pair) -> dict[str, object]:
    return {"verdict": outcome} | {name: _both(pair, name) for name in _WHICH}


def _both(pair: Pair, name: str) -> object:
    base, candidate = _values(pair.base, name), _values(pair.candidate, name)
    if base == candidate and len(base) == 1:
        value: object = getattr(pair.candidate[0], name)
        return value if isinstance(value, int) else base[0]
    sides = [", ".join(values) for values in (base, candidate)]
    return sides[0] if base == candidate else " -> ".join(sides)


def _values(rows: Iterable[TaskRow], name: str) -> list[str]:
    return sorted({row.text(name) for row in rows})


def _numbers(duel: Duel) -> dict[str, object]:
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
        "stable": duel.is_settled,
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
        "blame": duel.blame.cause.value if duel.blame else None,
        "blame_reason": duel.blame.reason if duel.blame else None,
    }


def _changed(change: Change) -> dict[str, object]:
    turned = f"{change.base} -> {change.candidate}"
    reason = f"{turned}: {change.reason}" if change.reason else turned
    return _pair(change.turn.value, change.pair) | {"reason": reason}


def _refused(entry: Refused) -> dict[str, object]:
    reason = "; ".join(mismatch.text for mismatch in entry.mismatches)
    return _pair(NOT_COMPARABLE, entry.pair) | {"reason": reason}


def _alone(outcome: str, rows: Rows) -> dict[str, object]:
    return _pair(outcome, Pair(rows, rows))
