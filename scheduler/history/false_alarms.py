"""The false-alarm rate of a history, estimated by resampling: A against A.

A cell's own runs, as residuals around their segments, are resampled as if all had one level, and
the last one is judged like the latest run. Every suspected step is then a false one. This is the
rate before confirmation; that of alarms is lower.

Autocorrelated runs are resampled in blocks as long as their correlation lasts, from a random start
(H. R. Kunsch, The jackknife and the bootstrap for general stationary observations, Annals of
Statistics 17 (1989) 1217-1241), but each block once.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from velodrome.scheduler.history.anomalies import FEWEST_BASELINE, NO_STEP, RECENT, detect_step
from velodrome.scheduler.history.autocorrelation import Dependence
from velodrome.scheduler.history.cell_series import Point
from velodrome.scheduler.history.changepoints import MOST_RUNS, fit_segments
from velodrome.scheduler.history.latest_run import CellVerdict, RunVerdict
from velodrome.scheduler.history.phase_series import Window, select_runs
from velodrome.scheduler.history.variance_pooling import Prior

MOST_RESAMPLES = 200
MOST_JUDGED = 3000  # series, over all resamples: a few seconds
FEWEST_BLOCKS = 4  # fewer would repeat the past nearly unchanged


@dataclass(frozen=True)
class FalseAlarms:
    """Counts of resampled runs: all, and those with a suspected step. series: in each.

    block: the length of the longest blocks, in runs.
    """

    resamples: int
    suspicious: int
    series: int
    block: int = 1

    @property
    def rate(self) -> float | None:
        return self.suspicious / self.resamples if self.resamples else None


@dataclass(frozen=True)
class Residuals:
    """Residuals of a series around its segments, with the errors of its runs."""

    values: Sequence[float]
    errors: Sequence[float]
    dependence: Dependence
    prior: Prior

    @property
    def block(self) -> int:
        return max(1, min(self.dependence.memory, len(self.values) // FEWEST_BLOCKS))


def estimate_false_alarms(verdict: RunVerdict, seed: int = 0) -> FalseAlarms:
    """Estimate the rate; deterministic for a seed. No resamples if no cell has enough history."""
    every = _collect_residuals(verdict)
    every = [one for one in every if len(one.values) >= FEWEST_BASELINE + RECENT]
    if not every:
        return FalseAlarms(0, 0, 0)
    count = max(1, min(MOST_RESAMPLES, MOST_JUDGED // len(every)))
    draw = random.Random(seed)
    suspicious = sum(_is_suspicious(every, verdict.rate, draw) for _ in range(count))
    return FalseAlarms(count, suspicious, len(every), max(one.block for one in every))


def _is_suspicious(every: Sequence[Residuals], rate: float, draw: random.Random) -> bool:
    return any(detect_step(_resample(one, draw), NO_STEP, rate) is not None for one in every)


def _resample(past: Residuals, draw: random.Random) -> Window:
    order = shuffle_blocks(len(past.values), past.block, draw)
    levels = [past.values[run] for run in order]
    return Window(levels, [past.errors[run] for run in order], past.dependence, past.prior)


def shuffle_blocks(runs: int, block: int, draw: random.Random) -> list[int]:
    """Shuffle run numbers in blocks of neighbours, from a random start."""
    first = draw.randrange(runs)
    rotated = [(first + run) % runs for run in range(runs)]
    blocks = [rotated[start : start + block] for start in range(0, runs, block)]
    draw.shuffle(blocks)
    return [run for neighbours in blocks for run in neighbours]


def _collect_residuals(verdict: RunVerdict) -> list[Residuals]:
    """Collect the residuals of each cell and phase, up to the first suspected run."""
    return [
        _compute_residuals(cell, phase, len(runs), verdict.rate)
        for cell in verdict.cells
        for phase in cell.series
        if (runs := _select_unsuspected(cell, phase))
    ]


def _select_unsuspected(cell: CellVerdict, phase: str) -> tuple[Point, ...]:
    runs = select_runs(cell.points, phase)
    onsets = [finding.since.started_at for finding in cell.findings if finding.phase == phase]
    return tuple(point for point in runs if not onsets or point.started_at < onsets[0])


def _compute_residuals(cell: CellVerdict, phase: str, runs: int, rate: float) -> Residuals:
    series = cell.series[phase]
    levels = series.levels[:runs][-MOST_RUNS:]
    values = [
        level - segment.level
        for segment in fit_segments(levels, rate, series.dependence, series.prior).segments
        for level in levels[segment.start : segment.end]
    ]
    return Residuals(values, series.errors[:runs][-MOST_RUNS:], series.dependence, series.prior)
