"""The effect of OpenBLAS's kernels: one task under several core types in turn.

In each round every setting has a turn, a whole `velodrome measure` with its proof, in an order that
changes from round to round. `chosen` is what Velodrome sets by itself; `by itself` the core type
that the library takes where nobody sets any; the others are named. A ratio is a setting's median
over that of `chosen` in the same round; the figure is the median over rounds with its 95 % interval
by the sign test (velodrome.adapters.timing.intervals), null where there were too few rounds for
one.

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

from turns import PHASES, Bench, Cell, TurnFailed, velodrome

from velodrome.adapters.timing.intervals import compute_median_interval
from velodrome.agents.environments.core_types import USER_VARIABLE, KernelChoice
from velodrome.agents.environments.import_path import import_path
from velodrome.agents.environments.openblas_selection import choose_kernels
from velodrome.agents.environments.store import EnvironmentStore
from velodrome.agents.inventory import take_inventory

CHOSEN, BY_ITSELF = "chosen", "by itself"
Found = dict[tuple[Cell, str], list[dict[str, float]]]  # of a setting, medians in ns by phase


def main() -> None:
    options = arguments()
    os.environ.pop(USER_VARIABLE, None)
    bench = Bench(take_inventory(), EnvironmentStore(), {}, options.seconds)
    deadline = time.monotonic() + options.budget_s
    cells = [cell_of(text) for text in options.cells]
    choices = {cell: choice(cell, bench) for cell in cells}
    found: Found = {}
    for number in range(options.rounds):
        for cell in cells:
            if not one_round(
                found, cell, settings(choices[cell], options), number, bench, deadline
            ):
                print(f"{cell.label}: no more than {number} rounds within the budget")
    rows = [row for cell in cells for row in rows_of(cell, choices[cell], found)]
    for row in rows:
        print(json.dumps(row))
    if options.json:
        Path(options.json).write_text(document(heading(bench, options), rows))
    sys.exit(0 if rows else 1)


def choice(cell: Cell, bench: Bench) -> KernelChoice:
    environment = bench.store.build(cell.framework)
    return choose_kernels(environment, import_path(bench.store.root.parent, cell.known), {})


def settings(chosen: KernelChoice, options: argparse.Namespace) -> dict[str, str]:
    """By label, what OPENBLAS_CORETYPE is; empty: Velodrome's own choice."""
    own = {seen.core for seen in chosen.own}
    alone = {BY_ITSELF: own.pop()} if chosen.setting and len(own) == 1 else {}
    return {CHOSEN: "", **alone, **{name: name for name in options.settings}}


def one_round(
    found: Found, cell: Cell, named: dict[str, str], number: int, bench: Bench, deadline: float
) -> bool:
    """Kept only if every setting had its turn. Whether it was."""
    labels = list(named)
    medians = {}
    for label in labels[number % len(labels) :] + labels[: number % len(labels)]:
        os.environ[USER_VARIABLE] = named[label]  # empty is as if it were not there
        try:
            medians[label] = velodrome(cell, bench, deadline)
        except TurnFailed as error:
            print(f"{cell.label} {label}: {error}", file=sys.stderr)
            return False
        print(f"round {number + 1} {cell.label} {label}: {medians[label]}", flush=True)
    for label, median in medians.items():
        found.setdefault((cell, label), []).append(median)
    return True


def rows_of(cell: Cell, chosen: KernelChoice, found: Found) -> list[dict[str, object]]:
    labels = [label for known, label in found if known == cell]
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
            **ratio_of(found[cell, label], found[cell, CHOSEN], phase),
        }
        for label in labels
        for phase in PHASES
    ]


def ratio_of(
    ours: list[dict[str, float]], base: list[dict[str, float]], phase: str
) -> dict[str, object]:
    ratios = [one[phase] / other[phase] for one, other in zip(ours, base, strict=True)]
    found = compute_median_interval(ratios)
    return {
        "median_ms": round(statistics.median(one[phase] for one in ours) / 1e6, 3),
        "ratio": round(found.median, 3),
        "low": round(found.low, 3) if found.covered else None,
        "high": round(found.high, 3) if found.covered else None,
        "rounds": len(ratios),
    }


def heading(bench: Bench, options: argparse.Namespace) -> dict[str, object]:
    return {
        "at": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "cpu_model": bench.node.cpu_model,
        "cores": len(bench.node.cores),
        "load_at_end": round(os.getloadavg()[0], 1),
        "seconds": options.seconds,
    }


def document(top: dict[str, object], rows: list[dict[str, object]]) -> str:
    """JSON with a line a row."""
    lines = ",\n  ".join(json.dumps(row) for row in rows)
    return f'{json.dumps(top, indent=1)[:-2]},\n "rows": [\n  {lines}\n ]\n}}\n'


def cell_of(text: str) -> Cell:
    framework, model, examples = text.split(":")
    return Cell(framework, model, 1, "", int(examples))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", nargs="+", default=["caffe:lenet:64"])
    parser.add_argument("--settings", nargs="*", default=["PRESCOTT", "SANDYBRIDGE", "HASWELL"])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=1.0, help="timed per phase and turn")
    parser.add_argument("--budget-s", type=float, default=900)
    parser.add_argument("--json", help="where the figures go")
    return parser.parse_args()


if __name__ == "__main__":
    main()
