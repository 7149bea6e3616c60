"""Rates of false and missed verdicts, in simulated comparisons."""

import random
from itertools import chain

import pytest
from made_rows import typed, values
from scipy.stats import binom

from velodrome.scheduler.comparison.matching import CellPair
from velodrome.scheduler.comparison.verdicts import compare_times
from velodrome.scheduler.statistics.ratio_tests import ALPHA, LEAST

pytestmark = [pytest.mark.slow, pytest.mark.full]

COMPARISONS = 60
CELLS = 10
REPEATS = 5


def drawn(columns, row, noise: float, luck: random.Random, factor: float = 1.0):
    """Columns of a cell's repeats, each phase of each process with luck of its own."""
    found = []
    for _ in range(REPEATS):
        times = {}
        for phase in ("forward", "gradient"):
            luckily = factor * luck.lognormvariate(0, noise)
            for name in ("low", "median", "high"):
                times[f"{phase}_{name}_ns"] = row.ns(phase, name) * luckily
        found.append({**columns, **times})
    return found


def moved_cells(row, noise: float, luck: random.Random, *factors: float) -> set[int]:
    """Return the cells that get a verdict."""
    columns = values(row)
    sides = [drawn(columns, row, noise, luck, each) for one in factors for each in (1.0, one)]
    rows = typed(chain(*sides))  # one table: to make one for each side takes most of the time
    cells = [tuple(rows[at : at + REPEATS]) for at in range(0, len(rows), REPEATS)]
    pairs = list(map(CellPair, cells[::2], cells[1::2]))
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
