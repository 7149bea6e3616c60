"""The Mann-Whitney rank test, which assumes no distribution.

Annals of Mathematical Statistics 18 (1947) 50-60. With 3 against 3 values its p cannot fall below
0.1, with 4 against 4 not below 0.029.
"""

from collections.abc import Sequence
from functools import lru_cache, partial


def compute_rank_p(base: Sequence[float], candidate: Sequence[float]) -> float:
    """Compute the exact two-sided p; with ties, by all permutations or 9999 random ones."""
    ranks = {value: rank for rank, value in enumerate(sorted({*base, *candidate}))}
    return _rank_p(*(tuple(sorted(ranks[value] for value in side)) for side in (base, candidate)))


@lru_cache(maxsize=4096)  # thousands of cells of few repeats have few orders among them
def _rank_p(base: tuple[int, ...], candidate: tuple[int, ...]) -> float:
    if len({*base, *candidate}) == 1:
        return 1.0
    if 1 in (len(base), len(candidate)):
        return _single_p(*sorted((base, candidate), key=len))
    from scipy.stats import PermutationMethod, mannwhitneyu  # late: slow to import

    test = partial(mannwhitneyu, base, candidate, alternative="two-sided")
    if len({*base, *candidate}) < len(base) + len(candidate):
        return float(test(method=PermutationMethod(n_resamples=9999, rng=0)).pvalue)
    return float(test(method="exact").pvalue)


def _single_p(single: tuple[int, ...], others: tuple[int, ...]) -> float:
    """Compute the p of one value against one or more by all permutations: each may be the single.

    scipy permutes no sample of one.
    """
    ranks = (*single, *others)
    u = [sum((own > other) + (own == other) / 2 for other in ranks) for own in ranks]
    least = min(sum(each <= u[0] for each in u), sum(each >= u[0] for each in u))
    return min(1.0, 2 * least / len(ranks))
