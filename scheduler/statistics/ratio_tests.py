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

from velodrome.scheduler.statistics import moderated_tests
from velodrome.scheduler.statistics.bimodality import (
    Array,
    Bools,
    Cut,
    ProcessBimodality,
    count_repeats_needed,
)
from velodrome.scheduler.statistics.contrasts import Contrast, ReplicationUnit, stack_contrasts
from velodrome.scheduler.statistics.rank_test import compute_rank_p
from velodrome.scheduler.statistics.replication import (
    Repeat,
    combine_repeats,
    half_width_factor,
    student_quantile,
)
from velodrome.scheduler.statistics.replication_units import Evidence, compare_within_sweep

ALPHA = 0.05  # the promised rate of false alarms, over comparisons in which nothing changed
# Bimodal processes, extreme cells and estimated degrees each use up a little of it: the tests
# use 4 % (benchmarks/comparison_power.py).
TESTED_AT = 0.04
LEAST = 0.02
LARGEST = 700.0  # largest logarithm whose exponential is finite
FOUND = 0.8  # the usual power, for the smallest step


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
    return compare_all([compare_within_sweep(base, candidate)], least=least, alpha=alpha)[0]


def compare_all(
    evidence: Sequence[Evidence], *, least: float = LEAST, alpha: float = TESTED_AT
) -> tuple[Comparison, ...]:
    """Compare times in order. Verdicts and p are corrected for their number, not intervals."""
    testable = [at for at, each in enumerate(evidence) if not each.reason]
    comparisons = [_describe_untested(each, least) for each in evidence]
    if not testable:
        return tuple(comparisons)
    tests = _test_all([evidence[at] for at in testable])
    verdicts = _decide([comparisons[at].ratio for at in testable], tests, least, alpha)
    for at, test, verdict in zip(testable, tests, verdicts, strict=True):
        comparisons[at] = _add_test(
            evidence[at], comparisons[at], test, verdict, alpha / len(testable)
        )
    return tuple(comparisons)


@dataclass(frozen=True)
class _TimeTest:
    """The test of one time, and whether bimodality may explain its step by chance.

    unpaired_error, paired_error: of the contrasts that might have decided.
    """

    p: float
    error: float
    degrees: float
    is_by_chance: bool
    bimodality: ProcessBimodality
    unpaired_error: float | None
    paired_error: float | None


@dataclass(frozen=True)
class _Verdict:
    """A corrected verdict. would_be_called: called if bimodality is ignored."""

    p: float
    is_called: bool
    would_be_called: bool


def _test_all(testable: Sequence[Evidence]) -> list[_TimeTest]:
    """Test times in order; those of one phase and unit are moderated together."""
    families: dict[tuple[ReplicationUnit, str], list[int]] = {}
    for at, each in enumerate(testable):
        families.setdefault((each.unit, each.family), []).append(at)
    found: dict[int, _TimeTest] = {}
    for members in families.values():
        found |= zip(members, _test_family([testable[at] for at in members]), strict=True)
    return [found[at] for at in range(len(testable))]


def _test_family(family: Sequence[Evidence]) -> list[_TimeTest]:
    cut = Cut(
        np.array([float(each.cut.p) for each in family]),
        np.array([float(each.cut.gap) for each in family]),
    )
    base = np.array([len(each.base) for each in family])
    candidate = np.array([len(each.candidate) for each in family])
    floors = np.array([each.floor for each in family])
    contrast = stack_contrasts([each.contrast for each in family])
    tests = moderated_tests.run_tests(contrast, cut, base, candidate, floors)
    errors = moderated_tests.compute_standard_errors(contrast, tests.together, floors, cut.suspect)
    unpaired = _compute_errors([each.unpaired for each in family], floors, cut.suspect)
    paired = _compute_errors([each.paired for each in family], floors, cut.suspect)
    return [
        _TimeTest(
            float(tests.p[at]),
            float(errors.error[at]),
            float(errors.degrees[at]),
            bool(tests.by_chance[at]),
            tests.bimodality,
            unpaired[at],
            paired[at],
        )
        for at in range(len(family))
    ]


def _compute_errors(
    contrasts: Sequence[Contrast | None], floors: Array, apart: Bools
) -> list[float | None]:
    """Compute moderated errors of contrasts; None where there is none."""
    testable = [
        (at, contrast) for at, contrast in enumerate(contrasts) if contrast and contrast.degrees
    ]
    errors: list[float | None] = [None] * len(contrasts)
    if testable:
        where = [at for at, _ in testable]
        stacked = stack_contrasts([contrast for _, contrast in testable])
        found_errors = moderated_tests.compute_standard_errors(
            stacked, moderated_tests.moderate_contrast(stacked), floors[where], apart[where]
        )
        for at, error in zip(where, found_errors.error, strict=True):
            errors[at] = float(error)
    return errors


def _decide(
    ratios: Sequence[float], tests: Sequence[_TimeTest], least: float, alpha: float
) -> list[_Verdict]:
    p = np.array([test.p for test in tests])
    by_chance = np.array([test.is_by_chance for test in tests])
    logs = np.log(ratios)
    is_called, would_be = (
        moderated_tests.call_cells(p, logs, each, least=least, alpha=alpha)
        for each in (by_chance, np.zeros_like(by_chance))
    )
    return [
        _Verdict(float(corrected), bool(test), bool(other))
        for corrected, test, other in zip(
            moderated_tests.adjust_by_holm(p), is_called, would_be, strict=True
        )
    ]


def _add_test(
    evidence: Evidence, comparison: Comparison, test: _TimeTest, verdict: _Verdict, level: float
) -> Comparison:
    """Add the test to a comparison. level: Bonferroni's, for the smallest step."""
    error, degrees = test.error, test.degrees
    distance, half = float(evidence.contrast.distance), half_width_factor(degrees) * error
    direction = Verdict.FASTER if comparison.ratio < 1 else Verdict.SLOWER
    is_withheld = verdict.would_be_called and not verdict.is_called
    return replace(
        comparison,
        low=min(math.exp(distance - half), comparison.ratio),
        high=max(math.exp(distance + half), comparison.ratio),
        p=verdict.p,
        verdict=direction if verdict.is_called else Verdict.UNDECIDED,
        error=error,
        degrees=degrees,
        unpaired_error=test.unpaired_error,
        paired_error=test.paired_error,
        smallest_step=find_smallest_step(error, degrees, level, comparison.least),
        reason=_describe_bimodality(test.bimodality) if is_withheld else "",
    )


def _describe_untested(evidence: Evidence, least: float) -> Comparison:
    """Build a comparison without a test."""
    sides = [[repeat.median_ns for repeat in side] for side in (evidence.base, evidence.candidate)]
    return Comparison(
        ratio=_compute_ratio(evidence),
        low=0.0,
        high=math.inf,
        p=1.0,
        rank_p=compute_rank_p(*sides),
        verdict=Verdict.UNDECIDED,
        base_repeats=len(evidence.base),
        candidate_repeats=len(evidence.candidate),
        error=math.inf,
        degrees=0.0,
        least=least,
        unit=evidence.unit,
        base_units=evidence.base_units,
        candidate_units=evidence.candidate_units,
        past_sweeps=evidence.past_sweeps,
        reason=evidence.reason,
    )


def _describe_bimodality(bimodality: ProcessBimodality) -> str:
    cells, gap = max(1, round(float(bimodality.cells))), math.expm1(float(bimodality.gap))
    return (
        f"processes are bimodal in {cells} cell{'s' if cells != 1 else ''}, with modes up to "
        f"{100 * gap:.1f} % apart; so few may differ by that by chance: "
        f"give `repeats: {count_repeats_needed(float(bimodality.cells))}`"
    )


def find_smallest_step(error: float, degrees: float, level: float, least: float) -> float | None:
    """Return the relative step that is detected with probability FOUND; None: too large.

    level: of the two-sided test. The usual sum of two quantiles (Snedecor and Cochran, Statistical
    Methods, 8th ed., 6.14).
    """
    threshold = max(student_quantile(1 - level / 2, degrees) * error, math.log1p(least))
    step = threshold + student_quantile(FOUND, degrees) * error
    return math.expm1(step) if step < LARGEST else None


def _compute_ratio(evidence: Evidence) -> float:
    return combine_repeats(evidence.candidate).median_ns / combine_repeats(evidence.base).median_ns
