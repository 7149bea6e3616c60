"""Whether a candidate is faster or slower than a base, each known by a few processes.

The ratio is of the medians over repeats. Its interval and p are Welch's (Biometrika 34 (1947)
28-35) on the logarithms of the process medians, with the spread of velodrome.scheduler.statistics.
replication. Beside it stands the p of the rank test of Mann & Whitney (Annals of Mathematical
Statistics 18 (1947) 50-60), exact, which assumes no distribution; but with 3 against 3 processes it
cannot fall below 0.1, with 4 against 4 not below 0.029, so it is reported and does not decide.

A verdict needs both: p at most alpha, and a ratio that is off by at least `least`, a difference
that someone would care for. Everything else is undecided; `is_alike` tells the undecided that are
known to be within `least` from those of which too little is known. What cannot be known: one
process against one has no spread to compare with. Where processes are of two kinds by luck, half
of them each, 2 against 2 come out apart in one of eight cases whatever the test; 5 against 5 do
not.

Many cells at once: Holm (Scandinavian Journal of Statistics 6 (1979) 65-70) bounds the probability
that any verdict at all is false; Benjamini & Hochberg (Journal of the Royal Statistical Society B
57 (1995) 289-300) the share of false ones among the verdicts.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache, partial

from velodrome.scheduler.statistics.replication import (
    Repeat,
    Spread,
    across,
    spread,
    student,
    student_p,
)

ALPHA = 0.05
LEAST = 0.02


class Verdict(StrEnum):
    """Of the candidate."""

    FASTER = "faster"
    SLOWER = "slower"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Comparison:
    """Candidate over base: a ratio of 1.1 is 10 % slower. The interval is one of 95 %.

    p: of Welch's test, corrected for the number of cells where `together` was applied. rank_p: of
    Mann and Whitney's, never corrected. error, degrees: the standard error of the ratio's
    logarithm and its degrees of freedom; infinite and 0 where one process stands against one.
    least: the practical minimum that the verdict was made with.
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

    @property
    def is_alike(self) -> bool:
        """Whether the whole interval lies within the practical minimum."""
        return 1 / (1 + self.least) <= self.low and self.high <= 1 + self.least


@dataclass(frozen=True)
class Mean:
    """The geometric mean of `count` ratios, with its 95 % interval."""

    ratio: float
    low: float
    high: float
    count: int


def compare(
    base: Sequence[Repeat],
    candidate: Sequence[Repeat],
    *,
    least: float = LEAST,
    alpha: float = ALPHA,
) -> Comparison:
    """Of at least one repeat each. least: 0.02 is 2 %."""
    ratio = across(candidate).median_ns / across(base).median_ns
    error, degrees, distance = _welch(spread(base), spread(candidate))
    if degrees:
        half, p = student(degrees) * error, _p(distance, error, degrees)
        low = min(math.exp(distance - half), ratio)
        high = max(math.exp(distance + half), ratio)
    else:
        low, high, p = 0.0, math.inf, 1.0
    return Comparison(
        ratio=ratio,
        low=low,
        high=high,
        p=p,
        rank_p=rank_p([one.median_ns for one in base], [one.median_ns for one in candidate]),
        verdict=verdict_of(ratio, p, least=least, alpha=alpha),
        base_repeats=len(base),
        candidate_repeats=len(candidate),
        error=error,
        degrees=degrees,
        least=least,
    )


def verdict_of(ratio: float, p: float, *, least: float = LEAST, alpha: float = ALPHA) -> Verdict:
    """Undecided unless it is both too unlikely by chance and large enough to matter."""
    if p > alpha or abs(math.log(ratio)) < math.log1p(least):
        return Verdict.UNDECIDED
    return Verdict.FASTER if ratio < 1 else Verdict.SLOWER


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Each as if it were the only one, in their order: below alpha, it holds among all of them."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    found, worst = [0.0] * len(p_values), 0.0
    for done, index in enumerate(order):
        worst = max(worst, min(1.0, (len(order) - done) * p_values[index]))
        found[index] = worst
    return tuple(found)


def false_discovery(p_values: Sequence[float]) -> tuple[float, ...]:
    """In their order: of those below q, a share of at most q is expected to be false."""
    count = len(p_values)
    order = sorted(range(count), key=p_values.__getitem__, reverse=True)
    found, least = [0.0] * count, 1.0
    for done, index in enumerate(order):
        least = min(least, p_values[index] * count / (count - done))
        found[index] = least
    return tuple(found)


adjusted = holm


def together(
    comparisons: Sequence[Comparison],
    *,
    alpha: float = ALPHA,
    correction: Callable[[Sequence[float]], tuple[float, ...]] = holm,
) -> tuple[Comparison, ...]:
    """The same, with p and verdict corrected for how many they are. Intervals stay as they are."""
    p_values = correction([one.p for one in comparisons])
    return tuple(
        replace(one, p=p, verdict=verdict_of(one.ratio, p, least=one.least, alpha=alpha))
        for one, p in zip(comparisons, p_values, strict=True)
    )


def geometric_mean(comparisons: Iterable[Comparison]) -> Mean | None:
    """Of these very cells, not of others like them; None of none.

    The only mean of ratios that does not depend on which side is the base: Fleming & Wallace,
    Communications of the ACM 29 (1986) 218-221. The cells' errors are independent, so their
    variances add, and the degrees of freedom are Satterthwaite's.
    """
    known = list(comparisons)
    if not known:
        return None
    count = len(known)
    log = math.fsum(math.log(one.ratio) for one in known) / count
    if not all(one.degrees for one in known):
        return Mean(math.exp(log), 0.0, math.inf, count)
    error, degrees = _satterthwaite([(one.error**2 / count**2, one.degrees) for one in known])
    half = student(degrees) * error
    return Mean(math.exp(log), math.exp(log - half), math.exp(log + half), count)


def rank_p(base: Sequence[float], candidate: Sequence[float]) -> float:
    """Two-sided and exact; of ties, by all ways to deal the values out, or 9999 drawn ones."""
    ranks = {value: rank for rank, value in enumerate(sorted({*base, *candidate}))}
    return _rank_p(*(tuple(sorted(ranks[value] for value in side)) for side in (base, candidate)))


@lru_cache(maxsize=4096)  # thousands of cells of few repeats have few orders among them
def _rank_p(base: tuple[int, ...], candidate: tuple[int, ...]) -> float:
    if len({*base, *candidate}) == 1:
        return 1.0
    from scipy.stats import PermutationMethod, mannwhitneyu  # late: slow to import

    test = partial(mannwhitneyu, base, candidate, alternative="two-sided")
    if len({*base, *candidate}) < len(base) + len(candidate):
        return float(test(method=PermutationMethod(n_resamples=9999, rng=0)).pvalue)
    return float(test(method="exact").pvalue)


def _welch(base: Spread, candidate: Spread) -> tuple[float, float, float]:
    """(standard error, degrees of freedom, distance) of the logarithms' means.

    A side of one process is taken to vary as the other does, its own samples being the least.
    """
    distance = candidate.mean - base.mean
    if base.degrees and candidate.degrees:
        sides = [(one.variance / one.count, one.degrees) for one in (base, candidate)]
        return *_satterthwaite(sides), distance
    degrees = base.degrees + candidate.degrees
    if not degrees:
        return math.inf, 0.0, distance
    variance = max(base.variance, candidate.variance)
    return math.sqrt(variance * (1 / base.count + 1 / candidate.count)), degrees, distance


def _satterthwaite(parts: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """The root of a sum of variances, and its degrees of freedom. Biometrics 2 (1946) 110-114."""
    total = math.fsum(variance for variance, _ in parts)
    if not total:  # all equal: a clock too coarse to see anything
        return 0.0, math.fsum(degrees for _, degrees in parts)
    shares = math.fsum((variance / total) ** 2 / degrees for variance, degrees in parts)
    return math.sqrt(total), 1 / shares


def _p(distance: float, error: float, degrees: float) -> float:
    if not error:
        return 0.0 if distance else 1.0
    return student_p(distance / error, degrees)
