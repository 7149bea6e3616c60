"""Tests of whether a candidate is faster or slower than a base, over all cells of a comparison.

The ratio is of the medians over repeats. Its interval and p come from a moderated test on the
logarithms of the replicated units: velodrome.scheduler.statistics.moderated_tests for the test,
.replication_units for the unit. The p of the exact rank test is reported but does not decide, since
few repeats cannot make it small enough.

A verdict needs p at most alpha and a ratio that is off by at least `least`, the practical minimum.
Everything else is undecided; `is_alike` separates those known to be within `least` from those of
which too little is known. Holm's correction bounds the probability of any false verdict.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from velodrome.scheduler.statistics.bimodality import (
    Array,
    Bools,
    Cut,
    ProcessBimodality,
    count_repeats_needed,
)
from velodrome.scheduler.statistics.contrasts import Contrast, ReplicationUnit, stack_contrasts
from velodrome.scheduler.statistics.moderated_tests import (
    adjust_by_holm,
    call_cells,
    compute_standard_errors,
    moderate_contrast,
    run_tests,
)
from velodrome.scheduler.statistics.rank_test import compute_rank_p
from velodrome.scheduler.statistics.replication import (
    Repeat,
    combine_repeats,
    half_width_factor,
    student_quantile,
)
from velodrome.scheduler.statistics.replication_units import Evidence, within_sweep

ALPHA = 0.05  # what is promised: of comparisons in which nothing changed
# Two kinds of processes, wild cells and estimated degrees each take a little of it, so what is
# promised at 5 % is tested at 4 % (benchmarks/comparison_power.py).
TESTED_AT = 0.04
LEAST = 0.02
LARGEST = 700.0  # of a logarithm that has a number
FOUND = 0.8  # the usual power at which a smallest step is told


class Verdict(StrEnum):
    """The verdict on the candidate."""

    FASTER = "faster"
    SLOWER = "slower"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Comparison:
    """The ratio of candidate over base, 1.1 is 10 % slower, with its 95 % interval and test.

    p: of the moderated test, corrected for the number of comparisons. rank_p: Mann-Whitney, not
    corrected. unit: what is replicated, base_units and candidate_units of them. past_sweeps: number
    of other sweeps that gave the variance between sweeps. error, degrees: standard error of the log
    ratio and its degrees of freedom; infinite and 0 without a test. unpaired_error, paired_error:
    the error for processes and for pairs of neighbours, if any. smallest_step: relative, detected
    with probability FOUND. least: the practical minimum of the verdict. reason: why there is no
    test.
    """

    ratio: float
    low: float
    high: float
    p: float
    rank_p: float
    verdict: Verdict
    base_repeats: int
    candidate_repeats: int
    error: float
    degrees: float
    least: float = LEAST
    unit: ReplicationUnit = ReplicationUnit.PROCESS
    base_units: int = 0
    candidate_units: int = 0
    past_sweeps: int = 0
    unpaired_error: float | None = None
    paired_error: float | None = None
    smallest_step: float | None = None
    reason: str = ""

    @property
    def is_alike(self) -> bool:
        """True if the whole interval lies within the practical minimum."""
        return 1 / (1 + self.least) <= self.low and self.high <= 1 + self.least


def compare(
    base: Sequence[Repeat],
    candidate: Sequence[Repeat],
    *,
    least: float = LEAST,
    alpha: float = TESTED_AT,
) -> Comparison:
    """Compare a single time within one sweep; one or more repeats each. least: 0.02 is 2 %."""
    return compare_all([within_sweep(base, candidate)], least=least, alpha=alpha)[0]


def compare_all(
    evidence: Sequence[Evidence], *, least: float = LEAST, alpha: float = TESTED_AT
) -> tuple[Comparison, ...]:
    """Compare times in order. Verdicts and p are corrected for their number, not intervals."""
    claims = [at for at, one in enumerate(evidence) if not one.reason]
    found = [_untested(one, least) for one in evidence]
    if not claims:
        return tuple(found)
    tests = _tests([evidence[at] for at in claims])
    verdicts = _verdicts([found[at].ratio for at in claims], tests, least, alpha)
    for at, test, verdict in zip(claims, tests, verdicts, strict=True):
        found[at] = _add_test(evidence[at], found[at], test, verdict, alpha / len(claims))
    return tuple(found)


@dataclass(frozen=True)
class _TimeTest:
    """The test of one time, and whether bimodality may explain its step by chance.

    unpaired_error, paired_error: of the contrasts that might have decided.
    """

    p: float
    error: float
    degrees: float
    is_luck: bool
    kinds: ProcessBimodality
    unpaired_error: float | None
    paired_error: float | None


@dataclass(frozen=True)
class _Verdict:
    """A corrected verdict. would_be_called: called if bimodality is ignored."""

    p: float
    is_called: bool
    would_be_called: bool


def _tests(claims: Sequence[Evidence]) -> list[_TimeTest]:
    """Test times in order; those of one phase and unit are moderated together."""
    families: dict[tuple[ReplicationUnit, str], list[int]] = {}
    for at, one in enumerate(claims):
        families.setdefault((one.unit, one.family), []).append(at)
    found: dict[int, _TimeTest] = {}
    for members in families.values():
        found |= zip(members, _family([claims[at] for at in members]), strict=True)
    return [found[at] for at in range(len(claims))]


def _family(family: Sequence[Evidence]) -> list[_TimeTest]:
    cut = Cut(
        np.array([float(one.cut.p) for one in family]),
        np.array([float(one.cut.gap) for one in family]),
    )
    base = np.array([len(one.base) for one in family])
    candidate = np.array([len(one.candidate) for one in family])
    floors = np.array([one.floor for one in family])
    contrast = stack_contrasts([one.contrast for one in family])
    found = run_tests(contrast, cut, base, candidate, floors)
    known = compute_standard_errors(contrast, found.together, floors, cut.suspect)
    unpaired = _errors([one.unpaired for one in family], floors, cut.suspect)
    paired = _errors([one.paired for one in family], floors, cut.suspect)
    return [
        _TimeTest(
            float(found.p[at]),
            float(known.error[at]),
            float(known.degrees[at]),
            bool(found.luck[at]),
            found.kinds,
            unpaired[at],
            paired[at],
        )
        for at in range(len(family))
    ]


def _errors(
    contrasts: Sequence[Contrast | None], floors: Array, apart: Bools
) -> list[float | None]:
    """Compute moderated errors of contrasts; None where there is none."""
    known = [(at, one) for at, one in enumerate(contrasts) if one and one.degrees]
    found: list[float | None] = [None] * len(contrasts)
    if known:
        where = [at for at, _ in known]
        theirs = stack_contrasts([one for _, one in known])
        found_errors = compute_standard_errors(
            theirs, moderate_contrast(theirs), floors[where], apart[where]
        )
        for at, error in zip(where, found_errors.error, strict=True):
            found[at] = float(error)
    return found


def _verdicts(
    ratios: Sequence[float], found: Sequence[_TimeTest], least: float, alpha: float
) -> list[_Verdict]:
    p = np.array([one.p for one in found])
    luck = np.array([one.is_luck for one in found])
    logs = np.log(ratios)
    is_called, would_be = (
        call_cells(p, logs, each, least=least, alpha=alpha) for each in (luck, np.zeros_like(luck))
    )
    return [
        _Verdict(float(corrected), bool(one), bool(other))
        for corrected, one, other in zip(adjust_by_holm(p), is_called, would_be, strict=True)
    ]


def _add_test(
    one: Evidence, known: Comparison, found: _TimeTest, verdict: _Verdict, level: float
) -> Comparison:
    """Add the test to a comparison. level: Bonferroni's, for the smallest step."""
    error, degrees = found.error, found.degrees
    distance, half = float(one.contrast.distance), half_width_factor(degrees) * error
    direction = Verdict.FASTER if known.ratio < 1 else Verdict.SLOWER
    is_withheld = verdict.would_be_called and not verdict.is_called
    return replace(
        known,
        low=min(math.exp(distance - half), known.ratio),
        high=max(math.exp(distance + half), known.ratio),
        p=verdict.p,
        verdict=direction if verdict.is_called else Verdict.UNDECIDED,
        error=error,
        degrees=degrees,
        unpaired_error=found.unpaired_error,
        paired_error=found.paired_error,
        smallest_step=smallest_step(error, degrees, level, known.least),
        reason=_describe_bimodality(found.kinds) if is_withheld else "",
    )


def _untested(one: Evidence, least: float) -> Comparison:
    """Build a comparison without a test."""
    sides = [[repeat.median_ns for repeat in side] for side in (one.base, one.candidate)]
    return Comparison(
        ratio=_ratio(one),
        low=0.0,
        high=math.inf,
        p=1.0,
        rank_p=compute_rank_p(*sides),
        verdict=Verdict.UNDECIDED,
        base_repeats=len(one.base),
        candidate_repeats=len(one.candidate),
        error=math.inf,
        degrees=0.0,
        least=least,
        unit=one.unit,
        base_units=one.base_units,
        candidate_units=one.candidate_units,
        past_sweeps=one.past_sweeps,
        reason=one.reason,
    )


def _describe_bimodality(found: ProcessBimodality) -> str:
    cells, gap = max(1, round(float(found.cells))), math.expm1(float(found.gap))
    return (
        f"processes are of two kinds in {cells} cell{'s' if cells != 1 else ''}, up to "
        f"{100 * gap:.1f} % apart, and so few may differ by that by luck: "
        f"give `repeats: {count_repeats_needed(float(found.cells))}`"
    )


def smallest_step(error: float, degrees: float, level: float, least: float) -> float | None:
    """Return the relative step that is detected with probability FOUND; None: too large.

    level: of the two-sided test. The usual sum of two quantiles (Snedecor and Cochran, Statistical
    Methods, 8th ed., 6.14).
    """
    threshold = max(student_quantile(1 - level / 2, degrees) * error, math.log1p(least))
    step = threshold + student_quantile(FOUND, degrees) * error
    return math.expm1(step) if step < LARGEST else None


def _ratio(one: Evidence) -> float:
    return combine_repeats(one.candidate).median_ns / combine_repeats(one.base).median_ns
