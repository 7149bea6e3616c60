"""The effect of OpenBLAS's kernels: one task under several core types.

A round runs a whole `velodrome measure` with its proof under every setting, in an order that
changes from round to round. `chosen` is Velodrome's own setting; `by itself` is the core type that
the library takes without a setting; the others are named. A ratio is a setting's median over that
of `chosen` in the same round; the figure is the median over rounds with its 95 % interval by the
sign test (velodrome.adapters.timing.intervals), null with too few rounds for an interval.

    nice -n 10 python benchmarks/kernels.py --cells caffe:lenet:64 numpy:lenet:16
        [--settings PRESCOTT SANDYBRIDGE HASWELL] [--rounds 9] [--seconds 1] [--budget-s 900]
        [--json FILE]
"""

import argparse
import json
import os
import statistics
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from cell_runs import PHASES, Bench, Cell, RunFailed, run_velodrome

from velodrome.adapters.timing.intervals import compute_median_interval
from velodrome.agents.environments.core_types import USER_VARIABLE, KernelChoice
from velodrome.agents.environments.import_path import import_path
from velodrome.agents.environments.openblas_selection import choose_kernels
from velodrome.agents.environments.store import EnvironmentStore
from velodrome.agents.inventory import take_inventory

CHOSEN, BY_ITSELF = "chosen", "by itself"
Medians = dict[tuple[Cell, str], list[dict[str, float]]]  # of a setting, medians in ns by phase


def main() -> None:
    options = arguments()
    os.environ.pop(USER_VARIABLE, None)
    bench = Bench(take_inventory(), EnvironmentStore(), {}, options.seconds)
    deadline = time.monotonic() + options.budget_s
    cells = [parse_cell(text) for text in options.cells]
    choices = {cell: choose(cell, bench) for cell in cells}
    medians: Medians = {}
    for number in range(options.rounds):
        for cell in cells:
            settings = list_settings(choices[cell], options)
            if not run_round(medians, cell, settings, number, bench, deadline):
                print(f"{cell.label}: the budget allows only {number} rounds")
    rows = [row for cell in cells for row in make_rows(cell, choices[cell], medians)]
    for row in rows:
        print(json.dumps(row))
    if options.json:
        Path(options.json).write_text(format_document(make_heading(bench, options), rows))
    sys.exit(0 if rows else 1)


def choose(cell: Cell, bench: Bench) -> KernelChoice:
    environment = bench.store.build(cell.framework)
    return choose_kernels(environment, import_path(bench.store.root.parent, cell.registered), {})


def list_settings(chosen: KernelChoice, options: argparse.Namespace) -> dict[str, str]:
    """List values of OPENBLAS_CORETYPE by label; empty: Velodrome's own choice."""
    own = {seen.core for seen in chosen.own}
    alone = {BY_ITSELF: own.pop()} if chosen.setting and len(own) == 1 else {}
    return {CHOSEN: "", **alone, **{name: name for name in options.settings}}


def run_round(
    medians: Medians, cell: Cell, named: dict[str, str], number: int, bench: Bench, deadline: float
) -> bool:
    """Run a round; return True if every setting gave a number. Else the round does not count."""
    labels = list(named)
    own = {}
    for label in labels[number % len(labels) :] + labels[: number % len(labels)]:
        os.environ[USER_VARIABLE] = named[label]  # empty: no setting
        try:
            own[label] = run_velodrome(cell, bench, deadline)
        except RunFailed as error:
            print(f"{cell.label} {label}: {error}", file=sys.stderr)
            return False
        print(f"round {number + 1} {cell.label} {label}: {own[label]}", flush=True)
    for label, median in own.items():
        medians.setdefault((cell, label), []).append(median)
    return True


def make_rows(cell: Cell, chosen: KernelChoice, medians: Medians) -> list[dict[str, object]]:
    labels = [label for measured, label in medians if measured == cell]
    return [
        {
            "framework": cell.framework,
            "model": cell.model,
            "batch_size": cell.batch_size,
            "threads": cell.threads,
            "libraries": sorted({seen.name for seen in chosen.run}),
            "chosen": sorted({seen.core for seen in chosen.run}),
            "by_itself": sorted({seen.core for seen in chosen.own}),
            "setting": label,
            "phase": phase,
            **compare(medians[cell, label], medians[cell, CHOSEN], phase),
        }
        for label in labels
        for phase in PHASES
    ]


def compare(
    ours: list[dict[str, float]], base: list[dict[str, float]], phase: str
) -> dict[str, object]:
    ratios = [own[phase] / other[phase] for own, other in zip(ours, base, strict=True)]
    interval = compute_median_interval(ratios)
    return {
        "median_ms": round(statistics.median(own[phase] for own in ours) / 1e6, 3),
        "ratio": round(interval.median, 3),
        "low": round(interval.low, 3) if interval.covered else None,
        "high": round(interval.high, 3) if interval.covered else None,
        "rounds": len(ratios),
    }


def make_heading(bench: Bench, options: argparse.Namespace) -> dict[str, object]:
    return {
        "at": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "cpu_model": bench.node.cpu_model,
        "cores": len(bench.node.cores),
        "load_at_end": round(os.getloadavg()[0], 1),
        "seconds": options.seconds,
    }


def format_document(top: dict[str, object], rows: list[dict[str, object]]) -> str:
    """Format JSON with one row per line."""
    lines = ",\n  ".join(json.dumps(row) for row in rows)
    return f'{json.dumps(top, indent=1)[:-2]},\n "rows": [\n  {lines}\n ]\n}}\n'


def parse_cell(text: str) -> Cell:
    framework, model, examples = text.split(":")
    return Cell(framework, model, 1, "", int(examples))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", nargs="+", default=["caffe:lenet:64"])
    parser.add_argument("--settings", nargs="*", default=["PRESCOTT", "SANDYBRIDGE", "HASWELL"])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=1.0, help="timed per phase and run")
    parser.add_argument("--budget-s", type=float, default=900)
    parser.add_argument("--json", help="file for the figures")
    return parser.parse_args()


if __name__ == "__main__":
    main()
