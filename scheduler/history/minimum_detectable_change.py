"""The minimum detectable change of a cell: the smallest step that nightly runs find.

It is found within RECENT runs with a probability of 95 %: the threshold of suspicion for three
runs, plus the amount by which their mean may fall short of it by chance (the usual sum of two
quantiles: G. W. Snedecor and W. G. Cochran, Statistical Methods, 8th ed., 6.14). A second
measurement confirms nothing if half of the step is below one run's noise: a bound, too.
"""

import math

from velodrome.scheduler.history.anomalies import FEWEST_CALM, LOOKS, RECENT, Series
from velodrome.scheduler.history.changepoints import MOST_NIGHTS, contrast_factor, fit, quantile
from velodrome.scheduler.statistics.ratio_tests import LEAST

MISSED = 0.05


def detectable(series: Series, rate: float) -> float | None:
    """Return the relative change, e.g. 0.031 for 3.1 %; None for too few runs."""
    levels = series.levels[-MOST_NIGHTS:]
    if len(levels) < FEWEST_CALM:
        return None
    found = fit(levels, rate / LOOKS, series.dependence, series.prior)
    short = quantile(2 * MISSED, found.degrees)  # one-sided
    before = found.last.nights
    weights = (*[-1 / before] * before, *[1 / RECENT] * RECENT)
    error = found.spread * contrast_factor(weights, series.dependence)
    beyond = quantile(rate / LOOKS / RECENT, found.degrees)
    threshold = max(beyond * error, math.log1p(LEAST))
    confirmed = 2 * short * found.spread
    return math.expm1(max(threshold + short * error, confirmed))
