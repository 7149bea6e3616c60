"""Which cells are too flaky to fail: they are run and shown, but their failures wake nobody.

Three failed or unstable nights in a row put a cell there, three good ones in a row let it out.
Three, as the release tests of Ray have it: one bad night is weather. A step that can be told from
noise is told all the same; of others it is at least said how far the cell has moved.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean

from velodrome.scheduler.history.anomalies import OLDEST_NEWS, Series, standard_error
from velodrome.scheduler.history.cell_series import Condition
from velodrome.scheduler.history.changepoints import quantile, spread_around

UNSURE = 0.05  # of a 95 % interval

IN_A_ROW = 3


def quarantined_since(conditions: Iterable[Condition]) -> int | None:
    """Of a cell's nights, oldest first: the index of that which put it there. None: it is not."""
    since: int | None = None
    good = bad = 0
    for index, condition in enumerate(conditions):
        is_good = condition is Condition.GOOD
        good, bad = (good + 1, 0) if is_good else (0, bad + 1)
        if since is None and bad >= IN_A_ROW:
            since = index
        elif since is not None and good >= IN_A_ROW:
            since = None
    return since


@dataclass(frozen=True)
class Moved:
    """From the nights before a cell's bad ones to those since; logarithms.

    half: of the 95 % interval; infinite, if the nights are too few to tell. nights: before.
    """

    phase: str
    distance: float
    half: float
    nights: int


def moved(phase: str, series: Series, since: int) -> Moved | None:
    """since: the first bad night, by its place among all of the cell's. None: a side is empty."""
    onset = sum(night < since for night in series.nights)
    view = series.until(len(series.levels) - 1)
    onset -= view.start
    start = max(0, onset - OLDEST_NEWS)
    before, now = view.levels[start:onset], view.levels[onset:]
    if not before or not now:
        return None
    weights = (*[-1 / len(before)] * len(before), *[1 / len(now)] * len(now))
    own = spread_around(view.levels, (onset, len(view.levels)), view.dependence)
    spread, degrees = view.prior.moderated(*own)
    half = quantile(UNSURE, degrees) * standard_error(view, weights, spread)
    return Moved(phase, fmean(now) - fmean(before), half, len(before))
