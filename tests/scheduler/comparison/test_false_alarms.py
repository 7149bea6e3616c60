"""Rates of false and missed verdicts, in simulated comparisons."""

import random

import pytest
from made_rows import changed_row
from scipy.stats import binom

from velodrome.scheduler.comparison.matching import CellPair
from velodrome.scheduler.comparison.verdicts import compare_times
from velodrome.scheduler.statistics.ratio_tests import ALPHA, LEAST

pytestmark = [pytest.mark.slow, pytest.mark.full]

COMPARISONS = 60
CELLS = 10
REPEATS = 5


def drawn(row, noise: float, luck: random.Random, factor: float = 1.0):
    """A cell's repeats, each phase of each process with luck of its own."""
    found = []
    for _ in range(REPEATS):
        times = {}
        for phase in ("forward", "gradient"):
            luckily = factor * luck.lognormvariate(0, noise)
            for name in ("low", "median", "high"):
                times[f"{phase}_{name}_ns"] = row.ns(phase, name) * luckily
        found.append(changed_row(row, **times))
    return tuple(found)


def moved_cells(row, noise: float, luck: random.Random, *factors: float) -> set[int]:
    """Return the cells that get a verdict."""
    pairs = [CellPair(drawn(row, noise, luck), drawn(row, noise, luck, each)) for each in factors]
    moved = [time.pair for time in compare_times(pairs, LEAST) if time.has_moved]
    return {index for index, pair in enumerate(pairs) if any(pair is one for one in moved)}


def test_at_most_five_percent_of_comparisons_of_unchanged_cells_name_a_cell(cell) -> None:
    (row,), luck = cell(repeats=1), random.Random(1)
    alarms = sum(bool(moved_cells(row, 0.05, luck, *[1.0] * CELLS)) for _ in range(COMPARISONS))
    assert alarms <= binom.ppf(0.999, COMPARISONS, ALPHA)


def test_a_slower_cell_is_detected_and_no_other_is_named(cell) -> None:
    (row,), luck = cell(repeats=1), random.Random(2)
    factors = [1.05] + [1.0] * (CELLS - 1)
    found = [moved_cells(row, 0.01, luck, *factors) for _ in range(COMPARISONS)]
    assert found.count({0}) >= 0.95 * COMPARISONS
