"""False alarms of nightly runs, and the delay until they report a real change.

    python benchmarks/nights.py --trials 20 --json docs/results/nights.json

Nights are simulated from the processes recorded in tests/scheduler/history/processes.csv: each
night of a cell is the median over five that are drawn, times what the scenario does to it. What is
suspicious is measured again with five others on the same night, and judged as `velodrome nightly`
does. A rate of false alarms is the share of nights with any alarm, over all cells; its error is the
standard error between trials. A power is the share of trials, with its
exact binomial 95 % interval.
"""

import argparse
import csv
import json
import math
import os
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

from velodrome.scheduler.history.cell_series import PHASES, Condition, NodeCell, Point
from velodrome.scheduler.history.latest_run import RunVerdict, judge
from velodrome.scheduler.results.typed_rows import CellKey

PROCESSES = Path(__file__).parents[1] / "tests" / "scheduler" / "history" / "processes.csv"
FIRST = datetime(2026, 1, 1, 2)
REPEATS = 5
CALM = 0.015  # relative spread of processes on a machine that is left alone
EFFECT = 0.02  # standard deviation of what a night does to all repeats of a cell
RHOS = (0.3, 0.5, 0.7)
NIGHTS = 220
BEFORE = 20  # nights before something happens
CHANGED = "torch lstm"

Logs = list[tuple[float, ...]]  # logarithms of ns by PHASES, one entry per process
Effect = Callable[[str, int], float]  # of a cell and a night, added to the logarithm of its times


def recorded() -> dict[str, Logs]:
    found: dict[str, Logs] = {}
    with PROCESSES.open() as lines:
        for row in csv.DictReader(lines):
            logs = tuple(math.log(float(row[f"{phase}_ns"])) for phase in PHASES)
            found.setdefault(f"{row['framework']} {row['model']}", []).append(logs)
    return found


def calmed(cells: dict[str, Logs]) -> dict[str, Logs]:
    """The same, each as many standard deviations off as it was, on a calmer machine."""
    return {
        cell: list(zip(*map(_calmed, zip(*logs, strict=True)), strict=True))
        for cell, logs in cells.items()
    }


def _calmed(logs: Sequence[float]) -> list[float]:
    middle, spread = statistics.fmean(logs), statistics.stdev(logs)
    return [middle + (log - middle) * CALM / spread for log in logs]


@dataclass
class Fleet:
    """Cells of one node, measured night by night. error: what is open of an unstable night."""

    cells: dict[str, Logs]
    effect: Effect
    draw: random.Random
    condition: Callable[[str, int], Condition] = lambda cell, night: Condition.GOOD
    error: float = 0.05
    nights: dict[NodeCell, tuple[Point, ...]] = field(default_factory=dict)

    def night(self, number: int) -> RunVerdict:
        """Measured, judged, measured again where it is suspicious, judged again."""
        for cell in self.cells:
            key = _key(cell)
            self.nights[key] = (*self.nights.get(key, ()), self._point(cell, number))
        verdict = judge(self.nights, str(number))
        for one in verdict.unconfirmed:
            *earlier, latest = self.nights[one.cell]
            self.nights[one.cell] = (*earlier, self._again(latest, one.cell, number))
        return judge(self.nights, str(number)) if verdict.unconfirmed else verdict

    def _point(self, cell: str, number: int) -> Point:
        levels, condition = self._levels(cell, number), self.condition(cell, number)
        errors = dict.fromkeys(PHASES, self.error) if condition is Condition.UNSTABLE else {}
        at = FIRST + timedelta(days=number)
        return Point(str(number), at, condition, levels, levels, {}, REPEATS, errors=errors)

    def _again(self, point: Point, key: NodeCell, number: int) -> Point:
        again = self._levels(f"{key.key.framework} {key.key.model}", number)
        both = {phase: (point.initial[phase] + again[phase]) / 2 for phase in again}
        return replace(point, again=again, levels=both, repeats=2 * REPEATS)

    def _levels(self, cell: str, number: int) -> dict[str, float]:
        processes = self.draw.choices(self.cells[cell], k=REPEATS)
        moved = self.effect(cell, number)
        medians = map(statistics.median, zip(*processes, strict=True))
        return {phase: log + moved for phase, log in zip(PHASES, medians, strict=True)}


def _key(cell: str) -> NodeCell:
    framework, model = cell.split(" ")
    key = CellKey(framework, "eager", model, 8, "cpu", 1, "float32", 0, "")
    return NodeCell(key, "host1")


def correlated(cells: Sequence[str], rho: float, effect: float, draw: random.Random) -> Effect:
    """AR(1) of its own for each cell, of that standard deviation."""
    found = {}
    for cell in cells:
        value = draw.gauss(0, effect)
        for night in range(NIGHTS):
            found[cell, night] = value
            value = rho * value + math.sqrt(1 - rho**2) * draw.gauss(0, effect)
    return lambda cell, night: found[cell, night]


def common(cells: Sequence[str], rho: float, effect: float, draw: random.Random) -> Effect:
    """The same AR(1) for all cells of the node."""
    one = correlated(["node"], rho, effect, draw)
    return lambda cell, night: one("node", night)


def walking(cells: Sequence[str], step: float, draw: random.Random) -> Effect:
    """A random walk of its own for each cell, by such steps."""
    found = {}
    for cell in cells:
        value = 0.0
        for night in range(NIGHTS):
            found[cell, night] = value
            value += draw.gauss(0, step)
    return lambda cell, night: found[cell, night]


def nothing(cell: str, night: int) -> float:
    return 0.0


def stepped(size: float, since: int) -> Effect:
    log = math.log1p(size)
    return lambda cell, night: log if cell == CHANGED and night >= since else 0.0


def creeping(share: float, since: int, nights: int) -> Effect:
    log = math.log1p(share)
    return lambda cell, night: log * min(nights, max(0, night - since)) * (cell == CHANGED)


def unstable_since(since: int) -> Callable[[str, int], Condition]:
    def condition(cell: str, night: int) -> Condition:
        is_bad = cell == CHANGED and night >= since
        return Condition.UNSTABLE if is_bad else Condition.GOOD

    return condition


Make = Callable[[random.Random], Fleet]


def false_alarm_scenarios() -> dict[str, Make]:
    real, calm = recorded(), calmed(recorded())
    names = tuple(calm)
    found: dict[str, Make] = {
        "unchanged, recorded processes": lambda draw: Fleet(real, nothing, draw),
        "unchanged, calm processes": lambda draw: Fleet(calm, nothing, draw),
    }
    for rho in RHOS:
        found[f"AR(1) {rho:g} of each cell"] = lambda draw, rho=rho: Fleet(
            calm, correlated(names, rho, EFFECT, draw), draw
        )
        found[f"AR(1) {rho:g} of the node"] = lambda draw, rho=rho: Fleet(
            calm, common(names, rho, EFFECT, draw), draw
        )
    for step in (0.003, 0.01):
        found[f"random walk by {100 * step:g} % a night"] = lambda draw, step=step: Fleet(
            calm, walking(names, step, draw), draw
        )
    return found


def power_scenarios() -> dict[str, tuple[Make, int, int]]:
    """With the night on which it begins, and that by which it should be told."""
    calm = calmed(recorded())
    return {
        "5 % step, within 3 nights": (
            lambda draw: Fleet(calm, stepped(0.05, BEFORE), draw),
            BEFORE,
            BEFORE + 2,
        ),
        "1.5 times slower and unstable, within 3 nights": (
            lambda draw: Fleet(calm, stepped(0.5, BEFORE), draw, unstable_since(BEFORE)),
            BEFORE,
            BEFORE + 2,
        ),
        "1.5 times slower, unstable since ever, within 3 nights": (
            lambda draw: Fleet(calm, stepped(0.5, BEFORE), draw, unstable_since(0)),
            BEFORE,
            BEFORE + 2,
        ),
        **{
            f"{100 * size:g} % step on night 3, by night 9": (
                lambda draw, size=size: Fleet(calm, stepped(size, 3), draw),
                3,
                9,
            )
            for size in (0.05, 0.1, 0.5)
        },
    }


def estimate_false_alarms(make: Make, nights: int, trials: int, seed: int) -> dict[str, object]:
    shares = []
    for trial in range(trials):
        fleet = make(random.Random(seed * 1000 + trial))
        shares.append(statistics.fmean(bool(fleet.night(night).alarms) for night in range(nights)))
    error = statistics.stdev(shares) / math.sqrt(trials) if trials > 1 else math.nan
    rate = statistics.fmean(shares)
    return {
        "trials": trials,
        "nights": nights,
        "rate": round(rate, 5),
        "error": round(error, 5),
        "worst_trial": max(shares),
    }


def power(make: Make, begins: int, until: int, trials: int, seed: int) -> dict[str, object]:
    told, others = 0, 0
    for trial in range(trials):
        fleet = make(random.Random(seed * 1000 + trial))
        cells = [
            f"{one.cell.key.framework} {one.cell.key.model}"
            for night in range(until + 1)
            for one in fleet.night(night).alarms
            if night >= begins
        ]
        told += CHANGED in cells
        others += any(cell != CHANGED for cell in cells)
    from scipy.stats import binomtest  # late: NumPy asks for its threads when it is imported

    interval = binomtest(told, trials).proportion_ci()
    return {
        "trials": trials,
        "told": told / trials,
        "low": round(interval.low, 3),
        "high": round(interval.high, 3),
        "other_cells": others / trials,
    }


def creeps(trials: int, seed: int, share: float = 0.003, nights: int = 40) -> dict[str, object]:
    """Count the creeps that are reported, and their size at each report."""
    calm = calmed(recorded())
    counts, gone, first = [], [], []
    for trial in range(trials):
        draw = random.Random(seed * 1000 + trial)
        fleet = Fleet(calm, creeping(share, BEFORE, nights), draw)
        told = [
            night
            for night in range(BEFORE + nights)
            for one in fleet.night(night).alarms
            if f"{one.cell.key.framework} {one.cell.key.model}" == CHANGED and night >= BEFORE
        ]
        counts.append(len(told))
        first += [share * (told[0] - BEFORE)] if told else []
        gone += [share * (b - a) for a, b in pairwise(told)]
    return {
        "trials": trials,
        "told": {str(count): counts.count(count) for count in sorted(set(counts))},
        "first_told_at": round(statistics.median(first), 4) if first else None,
        "least_between": round(min(gone), 4) if gone else None,
        "median_between": round(statistics.median(gone), 4) if gone else None,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=20, help="of each rate of false alarms")
    parser.add_argument("--power-trials", type=int, default=100)
    parser.add_argument("--creep-trials", type=int, default=20)
    parser.add_argument("--nights", type=int, default=200)
    parser.add_argument("--only", nargs="*", default=[""], help="scenarios with this in their name")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(variable, "1")  # small matrices: threads only wait for each other
    began, rows = time.monotonic(), []

    def put(name: str, found: dict[str, object]) -> None:
        rows.append({"scenario": name, **found})
        print(json.dumps(rows[-1]), flush=True)

    for name, make in false_alarm_scenarios().items():
        if any(part in name for part in asked.only):
            put(name, estimate_false_alarms(make, asked.nights, asked.trials, asked.seed))
    for name, (make, begins, until) in power_scenarios().items():
        if any(part in name for part in asked.only):
            put(name, power(make, begins, until, asked.power_trials, asked.seed))
    creep = "creep of 0.3 % a night for 40 nights"
    if any(part in creep for part in asked.only):
        put(creep, creeps(asked.creep_trials, asked.seed))
    if asked.json:
        made = {
            "made": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
            "seconds": round(time.monotonic() - began),
            "seed": asked.seed,
            "rows": rows,
        }
        asked.json.write_text(json.dumps(made, indent=1) + "\n")


if __name__ == "__main__":
    main()
