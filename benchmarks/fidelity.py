"""Velodrome's median over a bare hand-written loop of the same framework, model, batch and threads.

The two take turns in one run, each in a fresh process of the framework's own interpreter, on the
same cores with the same thread variables, so that a slow drift of the machine meets both alike. The
ratio of a round is of two neighbours in time; the figure is the median of the rounds. 1 means that
measuring through Velodrome costs what is measured nothing.

    python benchmarks/fidelity.py [--rounds 7] [--frameworks torch tensorflow] [--models lenet lstm]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from velodrome.adapters.models import MODELS
from velodrome.adapters.protocol import Timing
from velodrome.agents.cores.sharing import choose
from velodrome.agents.environments.frameworks import available
from velodrome.agents.environments.store import EnvironmentStore
from velodrome.agents.execution import execute
from velodrome.agents.inventory import take
from velodrome.agents.node import Node
from velodrome.agents.task import Task

BARE = Path(__file__).parent / "bare"
PHASES = ("forward", "gradient")


@dataclass(frozen=True)
class Cell:
    framework: str
    model: str
    threads: int

    @property
    def batch_size(self) -> int:
        return MODELS[self.model].batch_size


def main() -> None:
    options = arguments()
    node = take()
    store = EnvironmentStore()
    for framework in options.frameworks:
        store.build(framework, on_progress=lambda line: print(line, file=sys.stderr))
    found = {}
    for number in range(options.rounds):
        for cell in cells(options):
            found.setdefault(cell, []).append(turn(cell, node, store, options.seconds, number))
            tell(cell, found[cell][-1], number)
    for cell, rounds in found.items():
        for phase in PHASES:
            report(cell, phase, [ours[phase] / bare[phase] for ours, bare in rounds])


def turn(cell: Cell, node: Node, store: EnvironmentStore, seconds: float, number: int):
    """(ours, bare) in ns per phase; who goes first changes from round to round."""
    if number % 2:
        bare = bare_loop(cell, node, store, seconds)
        return velodrome(cell, node, store, seconds), bare
    return velodrome(cell, node, store, seconds), bare_loop(cell, node, store, seconds)


def velodrome(cell: Cell, node: Node, store: EnvironmentStore, seconds: float) -> dict:
    timing = Timing(target=1e-4, min_samples=10, min_seconds=seconds, max_seconds=seconds)
    task = Task(
        cell.framework,
        available()[cell.framework].default_variant,
        cell.model,
        cell.batch_size,
        threads=cell.threads,
        timing=timing,
    )
    measurement = execute(
        task, node=node, repeat=0, attempt=1, environments=store, on_event=lambda event: None
    )
    if not measurement.status.has_number:
        sys.exit(f"{task.label}: {measurement.status.value}: {measurement.reason}")
    return {phase: getattr(measurement, phase).median_ns for phase in PHASES}


def bare_loop(cell: Cell, node: Node, store: EnvironmentStore, seconds: float) -> dict:
    environment = store.build(cell.framework)
    allotment = choose(node, cell.threads)
    assert allotment is not None
    threads = {
        name: str(cell.threads)
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    }
    command = [
        str(environment.python),
        str(BARE / f"{cell.framework}_loop.py"),
        cell.model,
        f"--batch-size={cell.batch_size}",
        f"--threads={cell.threads}",
        f"--seconds={seconds}",
    ]
    done = subprocess.run(
        command,
        env={**os.environ, **dict(environment.variables), **threads, "CUDA_VISIBLE_DEVICES": ""},
        preexec_fn=lambda: os.sched_setaffinity(0, allotment.cpus),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{command}: {done.stderr[-2000:]}")
    said = json.loads(done.stdout.splitlines()[-1])
    return {phase: said[f"{phase}_ns"] for phase in PHASES}


def tell(cell: Cell, turns, number: int) -> None:
    ours, bare = turns
    for phase in PHASES:
        print(
            f"round {number + 1} {cell.framework} {cell.model} {cell.threads} threads {phase}: "
            f"{ours[phase] / 1e6:.3f} ms / {bare[phase] / 1e6:.3f} ms = "
            f"{ours[phase] / bare[phase]:.3f}",
            file=sys.stderr,
        )


def report(cell: Cell, phase: str, ratios: list[float]) -> None:
    print(
        f"{cell.framework:11} {cell.model:8} {cell.threads} threads {phase:8} "
        f"{statistics.median(ratios):.3f}  [{min(ratios):.3f} .. {max(ratios):.3f}] "
        f"of {len(ratios)} rounds"
    )


def cells(options: argparse.Namespace) -> list[Cell]:
    return [
        Cell(framework, model, threads)
        for framework in options.frameworks
        for model in options.models
        for threads in options.threads
    ]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=4.0, help="timed per phase and turn")
    parser.add_argument("--frameworks", nargs="+", default=["torch", "tensorflow"])
    parser.add_argument("--models", nargs="+", default=["lenet", "lstm"])
    parser.add_argument("--threads", nargs="+", type=int, default=[1])
    return parser.parse_args()


if __name__ == "__main__":
    main()
