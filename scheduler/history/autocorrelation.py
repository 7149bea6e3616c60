"""Autocorrelation of a cell's nightly runs, moderated over all cells.

A warm week, a neighbour on the host or a slow disk lasts longer than a day, so nightly runs are not
independent: the mean of k runs varies more than 1/k of one (G. V. Bayley, J. M. Hammersley, The
effective number of independent observations in an autocorrelated time series, Supplement to the
Journal of the Royal Statistical Society 8 (1946) 184-197). A run is modelled as an AR(1) effect
that fades by a factor per run, plus independent noise; both are on a grid.

A cell's likelihood of each grid point is restricted (REML: H. D. Patterson, R. Thompson, Biometrika
58 (1971) 545-554), with a level per segment and a smooth curve removed, so that neither few runs
nor a creep look like dependence. Cells share information by empirical Bayes: the prior over the
grid is the likeliest one for all cells (N. Laird, Journal of the American Statistical Association
73 (1978) 805-811), with PRIOR_SERIES of PRIOR added; a cell has the mean of its posterior.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

FADINGS = (0.3, 0.5, 0.7, 0.85, 0.95)
SHARES = (0.35, 0.7, 1.0)  # of a run's variance that is autocorrelated; the rest is independent
GRID = ((0.0, 0.0), *((fading, share) for fading in FADINGS for share in SHARES))
PRIOR = (0.5, *([0.5 / (len(GRID) - 1)] * (len(GRID) - 1)))  # half of it on independent runs
PRIOR_SERIES = 6.0  # the weight of PRIOR in series: three cells of two phases
ROUNDS = 30  # of EM: the prior moves by less than 1 % after that
SMOOTH = 20  # runs per degree of the smooth curve
STEP = 40  # runs: matrices have a multiple of this size
LONG_RUN = 30  # runs: the longest lag that the penalty of a cut allows for


@dataclass(frozen=True)
class Dependence:
    """Autocorrelation of runs at lag k > 0: the sum of share * fading**k over `parts`."""

    parts: tuple[tuple[float, float], ...] = ()

    @property
    def lag1(self) -> float:
        """The correlation of a run with the next."""
        return sum(fading * share for fading, share in self.parts)

    @property
    def memory(self) -> int:
        """The number of runs after which the correlation is below a tenth."""
        return next((k for k in range(1, LONG_RUN) if self.at(k) < 0.1), LONG_RUN)

    def at(self, lag: int) -> float:
        """Return the correlation at a lag."""
        return sum(share * fading**lag for fading, share in self.parts) if lag else 1.0

    def inflation(self, runs: int) -> float:
        """Return the variance of the mean of so many runs, over that of independent ones."""
        tail = sum((1 - lag / runs) * self.at(lag) for lag in range(1, runs))
        return max(1.0, 1 + 2 * tail)

    def compute_error(self, weights: Sequence[float]) -> float:
        """Compute the standard error of a weighted sum of runs, over the spread of one run."""
        import numpy as np

        vector = np.asarray(weights, dtype=float)
        return math.sqrt(float(vector @ build_correlations(self, len(vector)) @ vector))


INDEPENDENT = Dependence()
CAUTIOUS = Dependence(((0.5, 1.0),))
"""Assumed before the estimate, so that an excursion does not look like a segment."""


def build_correlations(dependence: Dependence, runs: int) -> "Array":
    """Return the correlation matrix of runs."""
    return _build_matrices(dependence, _round_up(runs))[0][:runs, :runs]


def build_whitening(dependence: Dependence, runs: int) -> "Array":
    """Return the matrix that turns such runs into independent values of equal variance."""
    return _build_matrices(dependence, _round_up(runs))[1][:runs, :runs]


def _round_up(runs: int) -> int:
    """Round up the size: fewer runs use the upper left corner of a larger matrix."""
    return max(STEP, math.ceil(runs / STEP) * STEP)


@lru_cache(maxsize=64)  # a fifth of a MB each
def _build_matrices(dependence: Dependence, runs: int) -> tuple["Array", "Array"]:
    import numpy as np
    from scipy.linalg import toeplitz  # late: slow to import
    from scipy.linalg.lapack import dtrtri  # a tenth of the time of a general inverse

    lags = np.arange(runs)
    column = (lags == 0).astype(float)
    for fading, share in dependence.parts:
        column[1:] += share * fading ** lags[1:]
    matrix = np.asarray(toeplitz(column))
    inverse, _ = dtrtri(np.linalg.cholesky(matrix), lower=1)
    return matrix, np.tril(inverse)


def estimate_dependences(
    series: Sequence[tuple[Sequence[float], Sequence[int]]],
) -> tuple[Dependence, ...]:
    """Estimate the autocorrelation of each series, given the ends of its segments."""
    import numpy as np

    if not series:
        return ()
    fits = [_compute_likelihoods(levels, bounds) for levels, bounds in series]
    likelihood = np.array([likelihoods for likelihoods, _ in fits])
    base = np.array(PRIOR)
    prior = base
    for _ in range(ROUNDS):
        joint = prior * likelihood
        posterior = joint / joint.sum(axis=1, keepdims=True)
        prior = (posterior.sum(axis=0) + PRIOR_SERIES * base) / (len(fits) + PRIOR_SERIES)
    return tuple(
        _average(weights, variances)
        for weights, (_, variances) in zip(posterior, fits, strict=True)
    )


def _compute_likelihoods(levels: Sequence[float], bounds: Sequence[int]) -> tuple["Array", "Array"]:
    """Return restricted likelihoods over GRID, relative to the largest, and variances."""
    import numpy as np

    design = build_design(len(levels), bounds)
    runs, columns = design.shape
    if runs - columns < 2:
        return np.ones(len(GRID)), np.ones(len(GRID))
    whiteners = _build_grid(runs)
    centred = np.asarray(levels, dtype=float) - levels[0]
    beside = np.column_stack([design, centred])
    factors = np.linalg.qr(whiteners @ beside, mode="r")
    corners = np.abs(np.diagonal(factors, axis1=1, axis2=2))
    squares = np.maximum(corners[:, -1] ** 2, 1e-300)
    determinant = 2 * np.log(np.diagonal(whiteners, axis1=1, axis2=2)).sum(axis=1)
    fixed = 2 * np.log(corners[:, :-1]).sum(axis=1)
    degrees = runs - columns
    logs = 0.5 * (determinant - fixed - degrees * np.log(squares))
    return np.exp(logs - logs.max()), squares / degrees


def build_design(runs: int, bounds: Sequence[int]) -> "Array":
    """Build a column per segment, and Legendre polynomials: a degree per SMOOTH runs."""
    import numpy as np
    from numpy.polynomial.legendre import legvander

    slopes = legvander(np.linspace(-1, 1, runs), math.ceil(runs / SMOOTH))[:, 1:]
    return np.column_stack([build_segment_columns(runs, bounds), slopes])


def build_segment_columns(runs: int, bounds: Sequence[int]) -> "Array":
    """Build for each segment a column of 1 on its runs, else 0. bounds: their ends."""
    import numpy as np

    place = np.arange(runs)
    pairs = zip((0, *bounds[:-1]), bounds, strict=True)
    return np.column_stack([((place >= start) & (place < end)) * 1.0 for start, end in pairs])


def _build_grid(runs: int) -> "Array":
    return _build_largest_grid(_round_up(runs))[:, :runs, :runs]


@lru_cache(maxsize=4)
def _build_largest_grid(runs: int) -> "Array":
    import numpy as np

    return np.array([build_whitening(_make_dependence(*point), runs) for point in GRID])


def _make_dependence(fading: float, share: float) -> Dependence:
    return Dependence(((fading, share),) if share else ())


def _average(posterior: "Array", variances: "Array") -> Dependence:
    """Average parameters, each weighted by the variance it implies, since covariances add."""
    weights = posterior * variances
    weights = weights / math.fsum(weights)
    parts: dict[float, float] = {}
    for weight, (fading, share) in zip(weights, GRID, strict=True):
        if share:
            parts[fading] = parts.get(fading, 0.0) + float(weight) * share
    return Dependence(tuple((fading, round(share, 3)) for fading, share in parts.items()))
