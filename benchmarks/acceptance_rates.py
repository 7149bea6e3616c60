"""False rejections of fleets without a fault, and how often a slow machine is rejected.

    python benchmarks/acceptance_rates.py --json docs/results/acceptance.json

A machine's time in a cell is the median of three processes drawn at random from those recorded in
tests/scheduler/history/processes.csv (one real machine, in use by others), times an effect of the
machine on all of its cells and one on each cell, both with a standard deviation of MACHINE: an
assumption, as the records are of one machine. `calm` scales the processes of each cell to a spread
of 1.5 %; other rows draw machines from a distribution instead. They are judged by the functions of
`velodrome accept`. `false` is the share of fleets without a fault in which any machine is rejected,
`error` its standard error; `found_5` and `found_10` are the shares in which a machine that is 5 or
10 % slower in all cells is rejected, `found_cell_20` one that is 20 % slower in one cell.
"""

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from simulated_runs import calm_down, read_recorded

from velodrome.scheduler.reports.acceptance.verdicts import LEAST
from velodrome.scheduler.statistics.peer_tests import (
    TESTED_AT,
    compare_among_peers,
    estimate_floor,
    find_peers,
)

MACHINE = 0.005
REPEATS = 3
CELLS = 6  # of the distributions; the records have four: gradients
TRIALS = {4: 3000, 8: 3000, 32: 750}
AT_ONCE = 250

Draw = Callable[[np.random.Generator, int, int], np.ndarray]


@dataclass(frozen=True)
class Row:
    """A result. source: of the times; the figures are shares of trials."""

    source: str
    machines: int
    cells: int
    trials: int
    false: float
    error: float
    found_5: float
    found_10: float
    found_cell_20: float


def draw_recorded(cells: dict[str, list[tuple[float, ...]]]) -> Draw:
    """Draw recorded gradients."""
    logs = np.array([[gradient for gradient, _ in processes] for processes in cells.values()])

    def draw(chance: np.random.Generator, trials: int, machines: int) -> np.ndarray:
        chosen = chance.integers(logs.shape[1], size=(trials, machines, len(logs), REPEATS))
        found = logs[np.arange(len(logs))[:, None], chosen]
        return found + draw_machines(chance, found.shape)

    return draw


def draw_machines(chance: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    shared = chance.standard_normal((*shape[:2], 1, 1))
    return MACHINE * (shared + chance.standard_normal((*shape[:3], 1)))


def draw_normal(chance: np.random.Generator, trials: int, machines: int) -> np.ndarray:
    shape = (trials, machines, CELLS, REPEATS)
    return 0.01 * chance.standard_normal(shape) + draw_machines(chance, shape)


def draw_heavy(chance: np.random.Generator, trials: int, machines: int) -> np.ndarray:
    """Draw machines that differ by more than their processes do."""
    shape = (trials, machines, CELLS, REPEATS)
    own = 0.01 * chance.standard_t(5, (*shape[:3], 1))
    return own + 0.003 * chance.standard_normal(shape)


def draw_shared(chance: np.random.Generator, trials: int, machines: int) -> np.ndarray:
    """Draw machines that differ by the same in all cells."""
    shape = (trials, machines, CELLS, REPEATS)
    own = 0.01 * chance.standard_normal((*shape[:2], 1, 1))
    return own + 0.003 * chance.standard_normal(shape)


SOURCES: dict[str, Draw] = {
    "recorded processes": draw_recorded(read_recorded()),
    "recorded processes, calm": draw_recorded(calm_down(read_recorded())),
    "1 % between processes, normal": draw_normal,
    "1 % between machines, tails of a t of five": draw_heavy,
    "1 % between machines, the same in all cells": draw_shared,
}


def reject(processes: np.ndarray) -> np.ndarray:
    """Return True for machines that `velodrome accept` rejects.

    processes: logarithms by trial, machine, cell and process.
    """
    logs, floor = np.median(processes, axis=-1), estimate_floor(processes)
    units = logs.shape[-2]
    tests = compare_among_peers(logs, find_peers(logs, units, floor), units, floor)
    is_slow = (units * tests.p <= TESTED_AT) & (tests.deviation >= math.log1p(LEAST))
    return np.asarray(is_slow.any(axis=-1))


def count(draw: Draw, chance: np.random.Generator, trials: int, machines: int) -> np.ndarray:
    """Count trials: with a false rejection, and with that of each slow machine."""
    logs = draw(chance, trials, machines)
    found = [reject(logs).any(axis=-1).sum()]
    for step, cells in ((0.05, slice(None)), (0.10, slice(None)), (0.20, slice(1))):
        slower = logs.copy()
        slower[:, 0, cells] += math.log1p(step)
        found.append(reject(slower)[:, 0].sum())
    return np.array(found)


def make_rows(scale: float) -> Iterator[Row]:
    for name, draw in SOURCES.items():
        for machines, most in TRIALS.items():
            chance = np.random.default_rng(machines)
            batches = max(1, round(scale * most / AT_ONCE))
            counts = sum(count(draw, chance, AT_ONCE, machines) for _ in range(batches))
            trials = batches * AT_ONCE
            false, *shares = (round(float(each) / trials, 4) for each in counts)
            error = math.sqrt(max(false * (1 - false), 1 / trials) / trials)
            cells = draw(chance, 1, machines).shape[2]
            yield Row(name, machines, cells, trials, false, round(error, 4), *shares)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", type=float, default=1.0, help="of the number of trials")
    parser.add_argument("--json", type=Path)
    typed = parser.parse_args()
    started, rows = time.monotonic(), []
    for row in make_rows(typed.scale):
        rows.append(asdict(row))
        print(json.dumps(rows[-1]), flush=True)
    print(f"{time.monotonic() - started:.0f} s")
    if typed.json:
        made = f'"made": "{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"'
        lines = ",\n".join(map(json.dumps, rows))
        typed.json.write_text("{" + made + ',\n"rows": [\n' + lines + "\n]}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
