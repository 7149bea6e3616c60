"""The minimum detectable change of a cell: the smallest step that nightly runs find.

It is found within RECENT runs with a probability of 95 %: the threshold for three
runs, plus the amount by which their mean may fall short of it by chance (the usual sum of two
quantiles: G. W. Snedecor and W. G. Cochran, Statistical Methods, 8th ed., 6.14). A second
measurement confirms a step only if half of it exceeds one run's noise: a second lower bound.
"""

import math

from velodrome.scheduler.history.anomalies import FEWEST_BASELINE, RECENT, TESTS
from velodrome.scheduler.history.changepoints import MOST_RUNS, compute_quantile, fit_segments
from velodrome.scheduler.history.phase_series import Series
from velodrome.scheduler.statistics.ratio_tests import LEAST

MISSED = 0.05


def compute_detectable_change(series: Series, rate: float) -> float | None:
    """Compute the relative change, e.g. 0.031 for 3.1 %; None for too few runs."""
    levels = series.levels[-MOST_RUNS:]
    if len(levels) < FEWEST_BASELINE:
        return None
    fit = fit_segments(levels, rate / TESTS, series.dependence, series.prior)
    margin = compute_quantile(2 * MISSED, fit.degrees)  # one-sided
    before = fit.last.runs
    weights = (*[-1 / before] * before, *[1 / RECENT] * RECENT)
    error = fit.spread * series.dependence.compute_error(weights)
    quantile = compute_quantile(rate / TESTS / RECENT, fit.degrees)
    threshold = max(quantile * error, math.log1p(LEAST))
    return math.expm1(max(threshold + margin * error, 2 * margin * fit.spread))
