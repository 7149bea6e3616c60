"""False verdicts of comparisons of unchanged cells, and how often a comparison finds a step.

    python benchmarks/comparing.py --json docs/results/comparing.json
    python benchmarks/comparing.py --trials 1000 --only "two kinds"
    python benchmarks/comparing.py --smallest    # the steps of docs/comparing.md

Times are drawn, cell by cell, and judged by the functions that `velodrome compare` judges with: the
contrast of the unit, the moderated test, the look for two kinds, Holm, and the practical minimum.
A trial is a whole comparison. `false` is the share of trials in which any cell got a verdict while
none had changed, `error` its standard error (binomial); `found_3`, `found_5` the share in which a
cell that was made 3 or 5 % slower got its verdict. That cell is the last one, which is of the calm
kind where kinds of cells differ. A cell has one time here, not forward and gradient. Each row says
how many trials it has: those of wide comparisons are dear, and may be asked for with fewer
(`--cells 300 --trials 400`).
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
REPEATS_OF_NIGHTS = (3, 5)
CELLS = (5, 30, 300)
STEPS = (0.03, 0.05)
AT_ONCE = 600_000  # values of one side: some 100 MB in all
TRIALS = 10_000
NIGHTS = (  # of history, a side, and what a night adds to all cells alike
    (4, 1, 0.0),
    (8, 1, 0.0),
    (20, 1, 0.0),
    (0, 3, 0.0),
    (8, 1, 0.01),
)

Draw = np.random.Generator
Side = np.ndarray
Sides = tuple[Side, Side]
Shape = tuple[int, int, int]  # trials, cells, repeats


def spread(share: float) -> Callable[[Draw, Shape], Sides]:
    return lambda draw, shape: two(lambda: share * draw.standard_normal(shape))


def two(side: Callable[[], Side]) -> Sides:
    return side(), side()


def scaled(draw: Draw, shape: Shape, spreads: Side) -> Sides:
    """spreads: of each cell of each trial."""
    return two(lambda: spreads[..., None] * draw.standard_normal(shape))


def varied(draw: Draw, shape: Shape) -> Sides:
    """0.5 to 2 %, evenly on a logarithmic scale."""
    return scaled(draw, shape, 0.005 * 4 ** draw.random(shape[:2]))


def one_wild(draw: Draw, shape: Shape) -> Sides:
    """1 %, and one cell of 10 %."""
    spreads = np.full(shape[:2], 0.01)
    spreads[:, 0] = 0.1
    return scaled(draw, shape, spreads)


def tenth_wild(draw: Draw, shape: Shape) -> Sides:
    """1 %, and a tenth of the cells of 3 %."""
    spreads = np.full(shape[:2], 0.01)
    spreads[:, : max(1, shape[1] // 10)] = 0.03
    return scaled(draw, shape, spreads)


def heavy(draw: Draw, shape: Shape) -> Sides:
    """Student's t of 3 degrees, times 1 %: one process in 50 is off by 5 % or more."""
    return two(lambda: 0.01 * draw.standard_t(3, shape))


def disturbed(draw: Draw, shape: Shape) -> Sides:
    """1 %, and one process in ten slower by 5 % in the mean."""
    return two(
        lambda: (
            0.01 * draw.standard_normal(shape)
            + (draw.random(shape) < 0.1) * draw.exponential(0.05, shape)
        )
    )


def of_two_kinds(share: float, noise: float, gap: float = 0.05) -> Callable[[Draw, Shape], Sides]:
    """share: of the cells, at least one; there each process is of either kind by half a chance."""

    def side(draw: Draw, shape: Shape) -> Side:
        found = noise * draw.standard_normal(shape)
        many = max(1, round(share * shape[1]))
        found[:, :many] += gap * (draw.random((shape[0], many, shape[2])) < 0.5)
        return found

    return lambda draw, shape: two(lambda: side(draw, shape))


def drifting(draw: Draw, shape: Shape) -> Sides:
    """1 % of process noise, and 2 % of drift that neighbours share, in mirrored rounds."""
    rounds = np.cumsum(0.02 * draw.standard_normal((shape[0], 1, shape[2])), axis=-1)
    return two(lambda: 0.01 * draw.standard_normal(shape) + rounds)


WITHIN = {
    "spread 1 %": spread(0.01),
    "spread 3 %": spread(0.03),
    "spread 0.5 to 2 %": varied,
    "1 %, one cell 10 %": one_wild,
    "1 %, a tenth of the cells 3 %": tenth_wild,
    "heavy tails (t of 3 degrees)": heavy,
    "one process in ten disturbed": disturbed,
    "two kinds 5 % apart: all cells, noise 0.5 %": of_two_kinds(1, 0.005),
    "two kinds 5 % apart: all cells, noise 1 %": of_two_kinds(1, 0.01),
    "two kinds 5 % apart: a quarter, noise 0.5 %": of_two_kinds(0.25, 0.005),
    "two kinds 5 % apart: a quarter, noise 1 %": of_two_kinds(0.25, 0.01),
    "two kinds 5 % apart: one cell, noise 0.5 %": of_two_kinds(0, 0.005),
    "spread 1 %, shared drift 2 % a round": drifting,
}


PAIRED_FROM = (
    5  # repeats; velodrome.scheduler.statistics.replication_units says from when on pairs decide
)
PAIRED = ("spread 1 %", "spread 0.5 to 2 %", "spread 1 %, shared drift 2 % a round")


@dataclass(frozen=True)
class Row:
    """spread: what varies. repeats: a side. nights: of history, a side; 0 within one sweep."""

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


def by_processes(base: Side, candidate: Side) -> np.ndarray:
    return verdicts(contrast_processes(base, candidate), base, candidate)


def by_pairs(base: Side, candidate: Side) -> np.ndarray:
    return verdicts(contrast_pairs(base, candidate), base, candidate)


def verdicts(contrast: Contrast, base: Side, candidate: Side) -> np.ndarray:
    """Of every cell of every trial, as velodrome.scheduler.statistics.ratio_tests has it."""
    found = run_tests(contrast, find_best_cut(base, candidate), base.shape[-1], candidate.shape[-1])
    ratio = np.median(candidate, axis=-1) - np.median(base, axis=-1)
    return call_cells(found.p, ratio, found.luck, least=LEAST, alpha=TESTED_AT)


def across(base: Side, candidate: Side, past: Side) -> np.ndarray:
    """Sides and past: trials, cells, nights, repeats."""
    levels = [np.median(side, axis=-1) for side in (base, candidate, past)]
    contrast = contrast_sweeps(levels[0], levels[1], [levels[2]])
    nothing = Cut(np.ones(contrast.distance.shape), np.zeros(contrast.distance.shape))
    found = run_tests(contrast, nothing, 1, 1)
    shown = [np.median(side.reshape(*side.shape[:2], -1), axis=-1) for side in (base, candidate)]
    return call_cells(found.p, shown[1] - shown[0], found.luck, least=LEAST, alpha=TESTED_AT)


def batches(trials: int, values: int) -> Iterator[int]:
    size = max(1, AT_ONCE // values)
    for done in range(0, trials, size):
        yield min(size, trials - done)


def counted(found: Iterator[tuple[np.ndarray, ...]]) -> np.ndarray:
    """Count trials: with a false verdict, with the verdict of each step."""
    return np.sum([[each.sum() for each in batch] for batch in found], axis=0)


def row_within(name: str, judge: Judge, unit: str, shape: Shape, seed: int) -> Row:
    draw, started = np.random.default_rng(seed), time.monotonic()

    def each() -> Iterator[tuple[np.ndarray, ...]]:
        for size in batches(shape[0], shape[1] * shape[2]):
            base, candidate = WITHIN[name](draw, (size, *shape[1:]))
            yield (
                judge(base, candidate).any(axis=-1),
                *(judge(base, slower(candidate, step))[:, -1] for step in STEPS),
            )

    return row(name, unit, shape, 0, 1, counted(each()), time.monotonic() - started)


def row_across(
    night: float, shape: Shape, history: int, nights: int, shared: float, seed: int
) -> Row:
    """night: what one adds to all processes of a cell; shared: and to all cells alike."""
    draw, started = np.random.default_rng(seed), time.monotonic()
    total = history + 2 * nights

    def each() -> Iterator[tuple[np.ndarray, ...]]:
        for size in batches(shape[0], shape[1] * shape[2] * total):
            times = 0.01 * draw.standard_normal((size, shape[1], total, shape[2]))
            times += night * draw.standard_normal((size, shape[1], total, 1))
            times += shared * draw.standard_normal((size, 1, total, 1))
            past, base, candidate = np.split(times, [history, history + nights], axis=2)
            yield (
                across(base, candidate, past).any(axis=-1),
                *(across(base, slower(candidate, step), past)[:, -1] for step in STEPS),
            )

    name = f"spread 1 %, nights {100 * night:g} %" + (
        f", and {100 * shared:g} % to all cells alike" if shared else ""
    )
    return row(name, "sweep", shape, history, nights, counted(each()), time.monotonic() - started)


def slower(side: Side, step: float) -> Side:
    """In the last cell."""
    found = side.copy()
    found[:, -1] += math.log1p(step)
    return found


def row(
    name: str, unit: str, shape: Shape, history: int, nights: int, counts: np.ndarray, took: float
) -> Row:
    trials, cells, repeats = shape
    false, *found = (float(count) / trials for count in counts)
    error = math.sqrt(max(false * (1 - false), 1 / trials) / trials)
    return Row(
        name, unit, repeats, cells, history, nights, trials,
        round(false, 4), round(error, 4), *(round(one, 4) for one in found), round(took, 1),
    )  # fmt: skip


def rows(trials: int, only: str, cells: Sequence[int]) -> Iterator[Row]:
    for count in cells:
        for name in WITHIN:
            for repeats in REPEATS:
                shape = (trials, count, repeats)
                is_paired = repeats >= PAIRED_FROM and name in PAIRED
                for judge, unit in ((by_processes, "process"), (by_pairs, "pair"))[: 1 + is_paired]:
                    if only in f"{name} {unit}":
                        yield row_within(name, judge, unit, shape, seed=count + repeats)
        for night in (0.005, 0.01):
            for history, nights, shared in NIGHTS:
                for repeats in REPEATS_OF_NIGHTS:
                    shape = (trials, count, repeats)
                    if only in f"nights {100 * night:g} % sweep":
                        yield row_across(night, shape, history, nights, shared, seed=count)


def smallest(found: Callable[[float], float], power: float) -> float:
    """The step that is found with this probability, in percent."""
    low, high = LEAST, 0.3
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if found(middle) < power else (low, middle)
    return round(100 * high, 1)


def print_smallest() -> None:
    """Print variation, repeats, and the steps found with 80 and with 95 %."""
    draw = np.random.default_rng(5)
    for share, repeats in ((0.005, 3), (0.01, 3), (0.01, 5), (0.02, 3), (0.02, 10)):
        base, candidate = spread(share)(draw, (SMALLEST_TRIALS, SMALLEST_OF, repeats))

        def found(step: float, base: Side = base, candidate: Side = candidate) -> float:
            return float(by_processes(base, slower(candidate, step))[:, -1].mean())

        print(f"{100 * share:g} %", repeats, smallest(found, 0.8), smallest(found, 0.95), sep="\t")
    for night in (0.005, 0.01):
        shape = (SMALLEST_TRIALS, SMALLEST_OF, 8 + 2)
        times = 0.01 * draw.standard_normal((*shape, 3))
        times += night * draw.standard_normal((*shape, 1))
        past, *sides = np.split(times, [8, 9], axis=2)

        def told(
            step: float, past: Side = past, base: Side = sides[0], candidate: Side = sides[1]
        ) -> float:
            return float(across(base, slower(candidate, step), past)[:, -1].mean())

        name = f"1 %, nights by {100 * night:g} %"
        print(name, 3, smallest(told, 0.8), smallest(told, 0.95), sep="\t")


def same(one: dict[str, object], other: dict[str, object]) -> bool:
    names = ("spread", "unit", "repeats", "cells", "history", "nights")
    return all(one[name] == other[name] for name in names)


def kept(path: Path, found: Sequence[dict[str, object]]) -> None:
    """With the rows that the file has already and that were not made again."""
    had = json.loads(path.read_text())["rows"] if path.exists() else []
    others = [one for one in had if not any(same(one, each) for each in found)]
    lines = ",\n".join(json.dumps(each) for each in [*others, *found])
    made = f'"made": "{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"'
    path.write_text("{" + made + ',\n"rows": [\n' + lines + "\n]}\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=TRIALS)
    parser.add_argument("--only", default="", help="rows whose name and unit have this in them")
    parser.add_argument("--cells", type=int, nargs="+", default=CELLS)
    parser.add_argument("--smallest", action="store_true", help="the smallest steps that are found")
    parser.add_argument("--json", type=Path, help="keeps what else it has")
    asked = parser.parse_args()
    if asked.smallest:
        print_smallest()
        return 0
    found: list[Row] = []
    for one in rows(asked.trials, asked.only, asked.cells):
        print(*asdict(one).values(), sep="\t", flush=True)
        found.append(one)
        if asked.json:
            kept(asked.json, [asdict(each) for each in found])
    worst = max(found, key=lambda one: one.false - 2 * one.error)
    print(f"most false: {100 * worst.false:.1f} % of {worst.trials}, {worst.spread}")
    return int(worst.false - 2 * worst.error > ALPHA)


if __name__ == "__main__":
    raise SystemExit(main())
