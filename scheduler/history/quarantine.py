"""Quarantine of flaky cells: they run and are shown, but their failures raise no alarm.

Three failed or unstable runs in a row put a cell there, three good ones in a row release it (three
as in Ray's release tests). A step that is distinguishable from noise is still reported. Of
each cell in quarantine, the change since then is shown.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from velodrome.scheduler.history.anomalies import OLDEST_REPORTED
from velodrome.scheduler.history.cell_series import Condition, Point
from velodrome.scheduler.history.changepoints import compute_quantile
from velodrome.scheduler.history.phase_series import Series

ALPHA = 0.05  # of a 95 % interval

IN_A_ROW = 3


def find_quarantine_start(conditions: Iterable[Condition]) -> int | None:
    """Find the index of the run that put a cell into quarantine; None: it is not in quarantine.

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
class LevelChange:
    """The change of a cell from the runs before its bad ones to those since; logarithms.

    half_width: of the 95 % interval; infinite with too few runs. runs_before: their number.
    """

    phase: str
    distance: float
    half_width: float
    runs_before: int


@dataclass(frozen=True)
class Quarantine:
    """The quarantine of a cell. since: the run that started it. runs: from the first bad one on.

    change: since before the first bad run; None without numbers on a side.
    """

    since: Point
    runs: int
    change: LevelChange | None


def find_quarantine(points: Sequence[Point], series: Mapping[str, Series]) -> Quarantine | None:
    """Find the quarantine that a cell is in after its last run. series: by phase."""
    start = find_quarantine_start(point.condition for point in points)
    if start is None:
        return None
    first = start + 1 - IN_A_ROW
    changes = (_compute_change(phase, each, first) for phase, each in series.items())
    return Quarantine(points[start], len(points) - first, next(filter(None, changes), None))


def _compute_change(phase: str, series: Series, since: int) -> LevelChange | None:
    window = series.window_until(len(series.levels) - 1)
    onset = sum(run < since for run in series.runs) - window.start
    start = max(0, onset - OLDEST_REPORTED)
    before, now = window.levels[start:onset], window.levels[onset:]
    if not before or not now:
        return None
    weights = (*[-1 / len(before)] * len(before), *[1 / len(now)] * len(now))
    spread, degrees = window.estimate_spread(onset)
    half_width = compute_quantile(ALPHA, degrees) * window.compute_standard_error(weights, spread)
    return LevelChange(phase, fmean(now) - fmean(before), half_width, len(before))
