"""Velodrome's median over a bare hand-written loop of the same framework, model, batch and threads.

By default the two take turns in fresh processes of the framework's own interpreter, on the same
cores with the same variables: ours, bare, bare, ours, and so on. A pair is two neighbours in time,
so that a slow drift of the machine meets both alike; the figure is the median of the pairs' ratios
with its 95 % interval. 1 means that measuring through Velodrome costs what is measured nothing.
Of images and vectors a worker has two batches in turns and the bare loop one: the same arithmetic.

`--in-process`: adapter and bare loop take turns call by call within one process, which leaves out
what differs from process to process; the figure is the adapter's own cost. `--null`: as that, with
the bare loop in both places, to see what the method makes of two things that are alike.

While others use the machine, CPU time is the figure to look at, at one thread.

Whatever is known stands in the `--json` file after each round, and it ends by itself: no turn
begins that would not end within `--budget-s`, and none may outlast it. Exit status 1 if a cell
gave no number.

    python benchmarks/fidelity.py [--in-process] [--frameworks torch jax] [--models lenet lstm]
        [--threads 1 2] [--rounds 8] [--seconds 2] [--budget-s 1800] [--json FILE]
"""

import argparse
import itertools
import os
import sys
import time
from pathlib import Path

from pairs import Pairs, about, save
from turns import PHASES, Bench, Cell, TurnFailed, bare_loop, both, velodrome

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
    environments, failed = built(options.frameworks, store)
    bench = Bench(node, store, environments, options.seconds)
    heading = about(mode(options), options.seconds, node.cpu_model, len(node.cores))
    heading["environments"] = [environment.name for environment in environments.values()]
    left = [cell for cell in cells(options) if cell.framework in environments]
    found: dict[tuple[Cell, str], Pairs] = {}
    longest: dict[Cell, float] = {}
    deadline = time.monotonic() + options.budget_s
    for number, cell in itertools.product(range(options.rounds), tuple(left)):
        began = time.monotonic()
        if cell not in left or began + longest.get(cell, 0.0) > deadline:
            continue
        try:
            one_round(found, cell, bench, number, deadline, options)
        except TurnFailed as error:
            left.remove(cell)
            if time.monotonic() < deadline or (cell, PHASES[0]) not in found:
                failed.append(f"{cell.label}: {str(error).splitlines()[0]}")
                print(f"{cell.label}: {error}", flush=True)
            continue
        longest[cell] = max(longest.get(cell, 0.0), time.monotonic() - began)
        tell_all(found, cell, f"round {number + 1}")
        if options.json:
            ended = {"load_at_end": round(os.getloadavg()[0], 1), "failed": failed}
            save(options.json, found, {**heading, **ended})
    print("\nin the end")
    for cell in dict.fromkeys(cell for cell, _ in found):
        tell_all(found, cell, "")
    print(*failed, sep="\n")
    sys.exit(1 if failed else 0)


def mode(options: argparse.Namespace) -> str:
    if options.null:
        return "bare loop against itself, in process"
    return "in process" if options.in_process else "in turns of processes"


def built(
    frameworks: list[str], store: EnvironmentStore
) -> tuple[dict[str, Environment], list[str]]:
    """Their environments, and why others have none. Before the budget runs."""
    found, failed = {}, []
    for name in frameworks:
        try:
            found[name] = store.build(name, on_progress=lambda line: print(line, file=sys.stderr))
        except (EnvironmentFailed, RecipeError) as error:
            failed.append(f"{name}: {error}")
    return found, failed


def one_round(found, cell: Cell, bench: Bench, number: int, deadline: float, options) -> None:
    """Run one round; the order of runs and builds alternates between rounds."""
    if options.in_process or options.null:
        first = "bare" if number % 2 else "ours"
        null = ["--null"] if options.null else []
        for line in both(cell, bench, deadline, f"--first={first}", *null):
            if "phase" in line:
                known = found.setdefault((cell, line["phase"]), Pairs())
                known.add(line)
        return
    turns = [velodrome, bare_loop]
    order = reversed(turns) if number % 2 else turns
    medians = {turn: turn(cell, bench, deadline) for turn in order}
    for phase in PHASES:
        known = found.setdefault((cell, phase), Pairs())
        ours, bare = (medians[turn][phase] for turn in turns)
        known.add({"ours_ns": [ours], "bare_ns": [bare]})


def tell_all(found: dict[tuple[Cell, str], Pairs], cell: Cell, when: str) -> None:
    for phase in PHASES:
        print(f"{when:9}{cell.label:52} {phase:8} {found[cell, phase].text}", flush=True)


def cells(options: argparse.Namespace) -> list[Cell]:
    return [
        Cell(framework, model, threads, options.variant, options.batch_size)
        for framework in options.frameworks
        for model in options.models
        for threads in options.threads
    ]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    there = [name for name in LOOPS if name in FRAMEWORKS]
    parser.add_argument("--in-process", action="store_true")
    parser.add_argument("--null", action="store_true")
    parser.add_argument("--frameworks", nargs="+", default=there, choices=there)
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--threads", nargs="+", type=int, default=[1])
    parser.add_argument("--batch-size", type=int, default=0, help="the model's own if not given")
    parser.add_argument("--variant", default="", help="of the frameworks; their default if none")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=2.0, help="timed per phase and turn")
    parser.add_argument("--budget-s", type=float, default=1800.0)
    parser.add_argument("--json", type=Path, help="where to keep the figures")
    return parser.parse_args()


if __name__ == "__main__":
    main()
