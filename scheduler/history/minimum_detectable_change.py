"""How small a step of a cell is found: the minimum detectable change.

That is the step which is found within RECENT nights with a probability of 95 %: what three nights
must be off to be suspicious, and as much again as their mean may by chance fall short of it (the
usual sum of two quantiles: G. W. Snedecor and W. G. Cochran, Statistical Methods, 8th ed., 6.14).
Measuring again tells nothing of a step whose half is less than a night's own luck: a bound, too.
"""

import math

from velodrome.scheduler.history.anomalies import FEWEST_CALM, LOOKS, RECENT, Series
from velodrome.scheduler.history.changepoints import MOST_NIGHTS, contrast_factor, fit, quantile
from velodrome.scheduler.statistics.ratio_tests import LEAST

MISSED = 0.05


def detectable(series: Series, rate: float) -> float | None:
    """Relative, e.g. 0.031: a step of 3.1 %. None: too few nights. rate: as of `suspicion`."""
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
