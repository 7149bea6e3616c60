"""Quarantine of flaky cells: they run and are shown, but their failures raise no alarm.

Three failed or unstable runs in a row put a cell there, three good ones in a row release it (three
as in Ray's release tests). A step that is distinguishable from noise is still reported; for other
cells the change since is.
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
    """Return the index of the run that put a cell into quarantine, or None.

    conditions: of its runs, oldest first.
    """
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
    """The change of a cell from the runs before its bad ones to those since; logarithms.

    half: of the 95 % interval; infinite with too few runs. nights: before.
    """

    phase: str
    distance: float
    half: float
    nights: int


def moved(phase: str, series: Series, since: int) -> Moved | None:
    """Compute the change. since: the first bad run, by its place. None: a side is empty."""
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
