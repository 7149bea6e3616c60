"""Velodrome's median over a bare hand-written loop of the same framework, model, batch and threads.

By default the two alternate in fresh processes of the framework's own interpreter, on the same
cores with the same variables: ours, bare, bare, ours, and so on. A pair is two consecutive runs, so
that a slow drift of the machine affects both alike; the figure is the median of the pairs' ratios
with its 95 % interval. 1 means that Velodrome adds no time to what it measures. A worker alternates
two batches of images or vectors and the bare loop has one: the arithmetic is the same.

`--in-process`: adapter and bare loop alternate call by call in one process, which excludes
differences between processes; the figure is the adapter's own cost. `--null`: the same, with the
bare loop on both sides, to test the method on two equal programs.

`--devices 2`: two processes that share each batch, against a plain script under torchrun.

On a machine that others use, look at CPU time, with one thread.

The `--json` file has all results after each round. No run starts that would end after `--budget-s`,
and none may outlast it. Exit status 1 if a cell gave no number.

    python benchmarks/fidelity.py [--in-process] [--frameworks torch jax] [--models lenet lstm]
        [--threads 1 2] [--rounds 8] [--seconds 2] [--budget-s 1800] [--json FILE]
"""

import argparse
import itertools
import os
import sys
import time
from pathlib import Path

from cell_runs import PHASES, Bench, Cell, RunFailed, run_bare_loop, run_both, run_velodrome
from paired_times import PairedTimes, make_heading, save

from velodrome.adapters.registry import FRAMEWORKS
from velodrome.agents.environments.environment import Environment
from velodrome.agents.environments.failures import EnvironmentFailed
from velodrome.agents.environments.recipes import RecipeError
from velodrome.agents.environments.store import EnvironmentStore
from velodrome.agents.inventory import take_inventory

LOOPS = sorted(path.name[:-8] for path in (Path(__file__).parent / "bare").glob("*_loop.py"))
MODELS = ["lenet", "autoencoder-400-200-100/finetune"]


def main() -> None:
    options = arguments()
    node = take_inventory()
    store = EnvironmentStore()
    environments, failed = build_environments(options.frameworks, store)
    bench = Bench(node, store, environments, options.seconds)
    heading = make_heading(mode(options), options.seconds, node.cpu_model, len(node.cores))
    heading["environments"] = [environment.name for environment in environments.values()]
    left = [cell for cell in cells(options) if cell.framework in environments]
    pairs: dict[tuple[Cell, str], PairedTimes] = {}
    longest: dict[Cell, float] = {}
    deadline = time.monotonic() + options.budget_s
    for number, cell in itertools.product(range(options.rounds), tuple(left)):
        started = time.monotonic()
        if cell not in left or started + longest.get(cell, 0.0) > deadline:
            continue
        try:
            run_round(pairs, cell, bench, number, deadline, options)
        except RunFailed as error:
            left.remove(cell)
            if time.monotonic() < deadline or (cell, PHASES[0]) not in pairs:
                failed.append(f"{cell.label}: {str(error).splitlines()[0]}")
                print(f"{cell.label}: {error}", flush=True)
            continue
        longest[cell] = max(longest.get(cell, 0.0), time.monotonic() - started)
        print_pairs(pairs, cell, f"round {number + 1}")
        if options.json:
            ended = {"load_at_end": round(os.getloadavg()[0], 1), "failed": failed}
            save(options.json, pairs, {**heading, **ended})
    print("\nresult")
    for cell in dict.fromkeys(cell for cell, _ in pairs):
        print_pairs(pairs, cell, "")
    print(*failed, sep="\n")
    sys.exit(1 if failed else 0)


def mode(options: argparse.Namespace) -> str:
    if options.null:
        return "bare loop against itself, in process"
    return "in process" if options.in_process else "in turns of processes"


def build_environments(
    frameworks: list[str], store: EnvironmentStore
) -> tuple[dict[str, Environment], list[str]]:
    """Return environments, and reasons for missing ones. This does not count in the budget."""
    environments, failed = {}, []
    for name in frameworks:
        try:
            environments[name] = store.build(
                name, on_progress=lambda line: print(line, file=sys.stderr)
            )
        except (EnvironmentFailed, RecipeError) as error:
            failed.append(f"{name}: {error}")
    return environments, failed


def run_round(pairs, cell: Cell, bench: Bench, number: int, deadline: float, options) -> None:
    """Run one round; the order of runs and builds alternates between rounds."""
    if options.in_process or options.null:
        first = "bare" if number % 2 else "ours"
        null = ["--null"] if options.null else []
        for line in run_both(cell, bench, deadline, f"--first={first}", *null):
            if "phase" in line:
                pairs.setdefault((cell, line["phase"]), PairedTimes()).add(line)
        return
    sides = [run_velodrome, run_bare_loop]
    order = reversed(sides) if number % 2 else sides
    medians = {side: side(cell, bench, deadline) for side in order}
    for phase in PHASES:
        ours, bare = (medians[side][phase] for side in sides)
        times = {"ours_ns": [ours], "bare_ns": [bare]}
        pairs.setdefault((cell, phase), PairedTimes()).add(times)


def print_pairs(pairs: dict[tuple[Cell, str], PairedTimes], cell: Cell, when: str) -> None:
    for phase in PHASES:
        print(f"{when:9}{cell.label:52} {phase:8} {pairs[cell, phase].text}", flush=True)


def cells(options: argparse.Namespace) -> list[Cell]:
    return [
        Cell(framework, model, threads, options.variant, options.batch_size, options.devices)
        for framework in options.frameworks
        for model in options.models
        for threads in options.threads
    ]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    frameworks = [name for name in LOOPS if name in FRAMEWORKS]
    parser.add_argument("--in-process", action="store_true")
    parser.add_argument("--null", action="store_true")
    parser.add_argument("--frameworks", nargs="+", default=frameworks, choices=frameworks)
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--threads", nargs="+", type=int, default=[1])
    parser.add_argument("--devices", type=int, default=1, help="2: torch against torchrun")
    parser.add_argument("--batch-size", type=int, default=0, help="the model's own if not given")
    parser.add_argument("--variant", default="", help="of the frameworks; their default if none")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=2.0, help="timed per phase and run")
    parser.add_argument("--budget-s", type=float, default=1800.0)
    parser.add_argument("--json", type=Path, help="file for the figures")
    return parser.parse_args()


if __name__ == "__main__":
    main()
