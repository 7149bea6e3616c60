"""False verdicts of comparisons of unchanged cells, and how often a comparison finds a step.

    python benchmarks/comparison_power.py --json docs/results/comparing.json
    python benchmarks/comparison_power.py --trials 1000 --only "two kinds"
    python benchmarks/comparison_power.py --smallest    # the steps of docs/comparing.md

Times are drawn for each cell and judged by the functions of `velodrome compare`: the contrast of
the unit, the moderated test, the test for bimodality, Holm, and the practical minimum. A trial is a
whole comparison. `false` is the share of trials in which any cell gets a verdict although none
changed, `error` its standard error (binomial); `found_3` and `found_5` are the shares in which a
cell that is 3 or 5 % slower gets its verdict. That is the last cell, which has the smaller spread
if spreads differ. A cell has one time here, not forward and gradient. Each row has its number of
trials: wide comparisons take long and may have fewer (`--cells 300 --trials 400`).
"""

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from time_distributions import WITHIN, Shape, Side, draw_spread

from velodrome.scheduler.statistics.bimodality import Cut, find_best_cut
from velodrome.scheduler.statistics.contrasts import (
    Contrast,
    contrast_pairs,
    contrast_processes,
    contrast_sweeps,
)
from velodrome.scheduler.statistics.moderated_tests import call_cells, run_tests
from velodrome.scheduler.statistics.ratio_tests import ALPHA, LEAST, TESTED_AT

REPEATS = (3, 5, 10)
REPEATS_OF_RUNS = (3, 5)
CELLS = (5, 30, 300)
STEPS = (0.03, 0.05)
AT_ONCE = 600_000  # values of one side: some 100 MB in total
TRIALS = 10_000
RUNS = (  # of the history, of a side, and the deviation that a run adds to all cells alike
    (4, 1, 0.0),
    (8, 1, 0.0),
    (20, 1, 0.0),
    (0, 3, 0.0),
    (8, 1, 0.01),
)

PAIRED_FROM = 5  # repeats: as in velodrome.scheduler.statistics.replication_units
PAIRED = ("spread 1 %", "spread 0.5 to 2 %", "spread 1 %, shared drift 2 % a round")


@dataclass(frozen=True)
class Row:
    """A result. spread: the variation. repeats, nights: of a side. history: 0 within a sweep."""

    spread: str
    unit: str
    repeats: int
    cells: int
    history: int
    nights: int
    trials: int
    false: float
    error: float
    found_3: float
    found_5: float
    seconds: float


Judge = Callable[[Side, Side], np.ndarray]
SMALLEST_OF = 30  # cells
SMALLEST_TRIALS = 3000
HALVINGS = 14


def judge_processes(base: Side, candidate: Side) -> np.ndarray:
    return judge_contrast(contrast_processes(base, candidate), base, candidate)


def judge_pairs(base: Side, candidate: Side) -> np.ndarray:
    return judge_contrast(contrast_pairs(base, candidate), base, candidate)


def judge_contrast(contrast: Contrast, base: Side, candidate: Side) -> np.ndarray:
    """Judge every cell of every trial as velodrome.scheduler.statistics.ratio_tests does."""
    tests = run_tests(contrast, find_best_cut(base, candidate), base.shape[-1], candidate.shape[-1])
    ratio = np.median(candidate, axis=-1) - np.median(base, axis=-1)
    return call_cells(tests.p, ratio, tests.luck, least=LEAST, alpha=TESTED_AT)


def judge_sweeps(base: Side, candidate: Side, past: Side) -> np.ndarray:
    """Judge sweeps. Sides and past: trials, cells, runs, repeats."""
    levels = [np.median(side, axis=-1) for side in (base, candidate, past)]
    contrast = contrast_sweeps(levels[0], levels[1], [levels[2]])
    no_cut = Cut(np.ones(contrast.distance.shape), np.zeros(contrast.distance.shape))
    tests = run_tests(contrast, no_cut, 1, 1)
    shown = [np.median(side.reshape(*side.shape[:2], -1), axis=-1) for side in (base, candidate)]
    return call_cells(tests.p, shown[1] - shown[0], tests.luck, least=LEAST, alpha=TESTED_AT)


def split_trials(trials: int, values: int) -> Iterator[int]:
    size = max(1, AT_ONCE // values)
    for done in range(0, trials, size):
        yield min(size, trials - done)


def count_trials(found: Iterator[tuple[np.ndarray, ...]]) -> np.ndarray:
    """Count trials: with a false verdict, with the verdict of each step."""
    return np.sum([[each.sum() for each in batch] for batch in found], axis=0)


def make_row_within(name: str, judge: Judge, unit: str, shape: Shape, seed: int) -> Row:
    draw, started = np.random.default_rng(seed), time.monotonic()

    def each() -> Iterator[tuple[np.ndarray, ...]]:
        for size in split_trials(shape[0], shape[1] * shape[2]):
            base, candidate = WITHIN[name](draw, (size, *shape[1:]))
            yield (
                judge(base, candidate).any(axis=-1),
                *(judge(base, slow_down(candidate, step))[:, -1] for step in STEPS),
            )

    return make_row(name, unit, shape, 0, 1, count_trials(each()), time.monotonic() - started)


def make_row_across(
    run: float, shape: Shape, history: int, nights: int, shared: float, seed: int
) -> Row:
    """Make a row. run: its deviation for all processes of a cell; shared: for all cells alike."""
    draw, started = np.random.default_rng(seed), time.monotonic()
    total = history + 2 * nights

    def each() -> Iterator[tuple[np.ndarray, ...]]:
        for size in split_trials(shape[0], shape[1] * shape[2] * total):
            times = 0.01 * draw.standard_normal((size, shape[1], total, shape[2]))
            times += run * draw.standard_normal((size, shape[1], total, 1))
            times += shared * draw.standard_normal((size, 1, total, 1))
            past, base, candidate = np.split(times, [history, history + nights], axis=2)
            yield (
                judge_sweeps(base, candidate, past).any(axis=-1),
                *(judge_sweeps(base, slow_down(candidate, step), past)[:, -1] for step in STEPS),
            )

    name = f"spread 1 %, nights {100 * run:g} %" + (
        f", and {100 * shared:g} % to all cells alike" if shared else ""
    )
    return make_row(
        name, "sweep", shape, history, nights, count_trials(each()), time.monotonic() - started
    )


def slow_down(side: Side, step: float) -> Side:
    """Slow down the last cell."""
    changed = side.copy()
    changed[:, -1] += math.log1p(step)
    return changed


def make_row(
    name: str, unit: str, shape: Shape, history: int, nights: int, counts: np.ndarray, took: float
) -> Row:
    trials, cells, repeats = shape
    false, *found = (float(count) / trials for count in counts)
    error = math.sqrt(max(false * (1 - false), 1 / trials) / trials)
    return Row(
        name, unit, repeats, cells, history, nights, trials,
        round(false, 4), round(error, 4), *(round(share, 4) for share in found), round(took, 1),
    )  # fmt: skip


def make_rows(trials: int, only: str, cells: Sequence[int]) -> Iterator[Row]:
    for count in cells:
        for name in WITHIN:
            for repeats in REPEATS:
                shape = (trials, count, repeats)
                is_paired = repeats >= PAIRED_FROM and name in PAIRED
                for judge, unit in ((judge_processes, "process"), (judge_pairs, "pair"))[
                    : 1 + is_paired
                ]:
                    if only in f"{name} {unit}":
                        yield make_row_within(name, judge, unit, shape, seed=count + repeats)
        for run in (0.005, 0.01):
            for history, nights, shared in RUNS:
                for repeats in REPEATS_OF_RUNS:
                    shape = (trials, count, repeats)
                    if only in f"nights {100 * run:g} % sweep":
                        yield make_row_across(run, shape, history, nights, shared, seed=count)


def find_smallest(found: Callable[[float], float], power: float) -> float:
    """Find the step that is found with this probability, in percent."""
    low, high = LEAST, 0.3
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if found(middle) < power else (low, middle)
    return round(100 * high, 1)


def print_smallest() -> None:
    """Print variation, repeats, and the steps found with 80 and with 95 %."""
    draw = np.random.default_rng(5)
    for share, repeats in ((0.005, 3), (0.01, 3), (0.01, 5), (0.02, 3), (0.02, 10)):
        base, candidate = draw_spread(share)(draw, (SMALLEST_TRIALS, SMALLEST_OF, repeats))

        def found(step: float, base: Side = base, candidate: Side = candidate) -> float:
            return float(judge_processes(base, slow_down(candidate, step))[:, -1].mean())

        print(
            f"{100 * share:g} %",
            repeats,
            find_smallest(found, 0.8),
            find_smallest(found, 0.95),
            sep="\t",
        )
    for run in (0.005, 0.01):
        shape = (SMALLEST_TRIALS, SMALLEST_OF, 8 + 2)
        times = 0.01 * draw.standard_normal((*shape, 3))
        times += run * draw.standard_normal((*shape, 1))
        past, *sides = np.split(times, [8, 9], axis=2)

        def found_again(
            step: float, past: Side = past, base: Side = sides[0], candidate: Side = sides[1]
        ) -> float:
            return float(judge_sweeps(base, slow_down(candidate, step), past)[:, -1].mean())

        name = f"1 %, nights by {100 * run:g} %"
        print(name, 3, find_smallest(found_again, 0.8), find_smallest(found_again, 0.95), sep="\t")


def is_same(row: dict[str, object], other: dict[str, object]) -> bool:
    names = ("spread", "unit", "repeats", "cells", "history", "nights")
    return all(row[name] == other[name] for name in names)


def save(path: Path, found: Sequence[dict[str, object]]) -> None:
    """Save rows, with the other rows that the file already has."""
    saved = json.loads(path.read_text())["rows"] if path.exists() else []
    others = [row for row in saved if not any(is_same(row, each) for each in found)]
    lines = ",\n".join(json.dumps(each) for each in [*others, *found])
    made = f'"made": "{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"'
    path.write_text("{" + made + ',\n"rows": [\n' + lines + "\n]}\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=TRIALS)
    parser.add_argument("--only", default="", help="rows whose name and unit have this in them")
    parser.add_argument("--cells", type=int, nargs="+", default=CELLS)
    parser.add_argument(
        "--smallest", action="store_true", help="print the smallest steps that are found"
    )
    parser.add_argument("--json", type=Path, help="file for the rows; others in it stay")
    options = parser.parse_args()
    if options.smallest:
        print_smallest()
        return 0
    found: list[Row] = []
    for row in make_rows(options.trials, options.only, options.cells):
        print(*asdict(row).values(), sep="\t", flush=True)
        found.append(row)
        if options.json:
            save(options.json, [asdict(each) for each in found])
    worst = max(found, key=lambda row: row.false - 2 * row.error)
    print(f"most false: {100 * worst.false:.1f} % of {worst.trials}, {worst.spread}")
    return int(worst.false - 2 * worst.error > ALPHA)


if __name__ == "__main__":
    raise SystemExit(main())
