"""False alarms of nightly runs, and the delay until they report a real change.

    python benchmarks/nightly_alarms.py --trials 20 --json docs/results/nights.json

Runs are simulated from the processes recorded in tests/scheduler/history/processes.csv: the time of
a cell in a run is the median over five processes drawn at random, times the effect of the scenario.
A suspicious cell is measured again with five others in the same run, and judged as `velodrome
nightly` does. A rate of false alarms is the share of runs with any alarm, over all cells; its error
is the standard error between trials. A power is the share of trials, with its exact binomial 95 %
interval. Names of scenarios and figures are those of the recorded results: a night is a run, and
`told` is the share or number of reported changes.
"""

import argparse
import json
import math
import os
import random
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

from simulated_runs import (
    CHANGED,
    Fleet,
    calm_down,
    make_common,
    make_correlated,
    make_drift,
    make_step,
    make_walk,
    no_effect,
    read_recorded,
    unstable_since,
)

EFFECT = 0.02  # standard deviation of the effect of a run on all repeats of a cell
RHOS = (0.3, 0.5, 0.7)
BEFORE = 20  # runs before the change

Make = Callable[[random.Random], Fleet]


def false_alarm_scenarios() -> dict[str, Make]:
    real, calm = read_recorded(), calm_down(read_recorded())
    names = tuple(calm)
    found: dict[str, Make] = {
        "unchanged, recorded processes": lambda draw: Fleet(real, no_effect, draw),
        "unchanged, calm processes": lambda draw: Fleet(calm, no_effect, draw),
    }
    for rho in RHOS:
        found[f"AR(1) {rho:g} of each cell"] = lambda draw, rho=rho: Fleet(
            calm, make_correlated(names, rho, EFFECT, draw), draw
        )
        found[f"AR(1) {rho:g} of the node"] = lambda draw, rho=rho: Fleet(
            calm, make_common(names, rho, EFFECT, draw), draw
        )
    for step in (0.003, 0.01):
        found[f"random walk by {100 * step:g} % a night"] = lambda draw, step=step: Fleet(
            calm, make_walk(names, step, draw), draw
        )
    return found


def power_scenarios() -> dict[str, tuple[Make, int, int]]:
    """Return scenarios, each with the run of the change and the last run to report it."""
    calm = calm_down(read_recorded())
    return {
        "5 % step, within 3 nights": (
            lambda draw: Fleet(calm, make_step(0.05, BEFORE), draw),
            BEFORE,
            BEFORE + 2,
        ),
        "1.5 times slower and unstable, within 3 nights": (
            lambda draw: Fleet(calm, make_step(0.5, BEFORE), draw, unstable_since(BEFORE)),
            BEFORE,
            BEFORE + 2,
        ),
        "1.5 times slower, unstable since ever, within 3 nights": (
            lambda draw: Fleet(calm, make_step(0.5, BEFORE), draw, unstable_since(0)),
            BEFORE,
            BEFORE + 2,
        ),
        **{
            f"{100 * size:g} % step on night 3, by night 9": (
                lambda draw, size=size: Fleet(calm, make_step(size, 3), draw),
                3,
                9,
            )
            for size in (0.05, 0.1, 0.5)
        },
    }


def measure_false_alarms(make: Make, runs: int, trials: int, seed: int) -> dict[str, object]:
    shares = []
    for trial in range(trials):
        fleet = make(random.Random(seed * 1000 + trial))
        shares.append(statistics.fmean(bool(fleet.measure(run).alarms) for run in range(runs)))
    error = statistics.stdev(shares) / math.sqrt(trials) if trials > 1 else math.nan
    rate = statistics.fmean(shares)
    return {
        "trials": trials,
        "nights": runs,
        "rate": round(rate, 5),
        "error": round(error, 5),
        "worst_trial": max(shares),
    }


def measure_power(make: Make, begins: int, until: int, trials: int, seed: int) -> dict[str, object]:
    detected, others = 0, 0
    for trial in range(trials):
        fleet = make(random.Random(seed * 1000 + trial))
        cells = [
            f"{one.cell.key.framework} {one.cell.key.model}"
            for run in range(until + 1)
            for one in fleet.measure(run).alarms
            if run >= begins
        ]
        detected += CHANGED in cells
        others += any(cell != CHANGED for cell in cells)
    from scipy.stats import binomtest  # late: NumPy asks for its threads when it is imported

    interval = binomtest(detected, trials).proportion_ci()
    return {
        "trials": trials,
        "told": detected / trials,
        "low": round(interval.low, 3),
        "high": round(interval.high, 3),
        "other_cells": others / trials,
    }


def measure_drifts(
    trials: int, seed: int, share: float = 0.003, runs: int = 40
) -> dict[str, object]:
    """Count the reports of a slow drift, and its growth between them."""
    calm = calm_down(read_recorded())
    counts, growth, first = [], [], []
    for trial in range(trials):
        draw = random.Random(seed * 1000 + trial)
        fleet = Fleet(calm, make_drift(share, BEFORE, runs), draw)
        detected = [
            run
            for run in range(BEFORE + runs)
            for one in fleet.measure(run).alarms
            if f"{one.cell.key.framework} {one.cell.key.model}" == CHANGED and run >= BEFORE
        ]
        counts.append(len(detected))
        first += [share * (detected[0] - BEFORE)] if detected else []
        growth += [share * (b - a) for a, b in pairwise(detected)]
    return {
        "trials": trials,
        "told": {str(count): counts.count(count) for count in sorted(set(counts))},
        "first_told_at": round(statistics.median(first), 4) if first else None,
        "least_between": round(min(growth), 4) if growth else None,
        "median_between": round(statistics.median(growth), 4) if growth else None,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=20, help="of each rate of false alarms")
    parser.add_argument("--power-trials", type=int, default=100)
    parser.add_argument("--creep-trials", type=int, default=20)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--only", nargs="*", default=[""], help="scenarios with this in their name")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(variable, "1")  # small matrices: threads only wait for each other
    began, rows = time.monotonic(), []

    def put(name: str, found: dict[str, object]) -> None:
        rows.append({"scenario": name, **found})
        print(json.dumps(rows[-1]), flush=True)

    for name, make in false_alarm_scenarios().items():
        if any(part in name for part in options.only):
            put(name, measure_false_alarms(make, options.runs, options.trials, options.seed))
    for name, (make, begins, until) in power_scenarios().items():
        if any(part in name for part in options.only):
            put(name, measure_power(make, begins, until, options.power_trials, options.seed))
    creep = "creep of 0.3 % a night for 40 nights"
    if any(part in creep for part in options.only):
        put(creep, measure_drifts(options.creep_trials, options.seed))
    if options.json:
        made = {
            "made": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
            "seconds": round(time.monotonic() - began),
            "seed": options.seed,
            "rows": rows,
        }
        options.json.write_text(json.dumps(made, indent=1) + "\n")


if __name__ == "__main__":
    main()
