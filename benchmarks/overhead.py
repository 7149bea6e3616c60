"""The overhead of Velodrome itself: a task outside its worker, and the command line's start.

A task's overhead is its whole wall time less that between its worker's first and last event, with
the environment built and the reference computed. Tasks without and with a canary alternate;
consecutive tasks share a canary between them. `--help` and a bare `python -c pass` alternate, too.

`--group` alternates a task of torch in one process and the same on two processes, instead.

    python benchmarks/overhead.py [--rounds 15] [--group]
"""

import argparse
import statistics
import subprocess
import sys
import time
from dataclasses import replace

from velodrome.adapters.protocol import Finished, Hello, Timing
from velodrome.agents.environments.store import EnvironmentStore
from velodrome.agents.execution import execute
from velodrome.agents.inventory import take_inventory
from velodrome.agents.task import Task

TIMING = Timing(target=0.5, min_samples=3, min_seconds=0.2, max_seconds=0.5)
TASK = Task("numpy", "float64", "autoencoder-400-200-100/ae1", 16, timing=TIMING)
WITH_CANARY = replace(TASK, canary="numpy")
ALONE = Task("torch", "eager", "autoencoder-400-200-100/ae1", 16, timing=TIMING)
GROUP = replace(ALONE, processes=2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--group", action="store_true")
    options = parser.parse_args()
    rounds, store = options.rounds, EnvironmentStore()
    if options.group:
        compare_group(store, rounds)
        return
    store.build("numpy", on_progress=print)
    for task in (TASK, WITH_CANARY):
        task_overhead_s(task, store)  # computes the references, warms the file cache
    rounds_s = [
        (task_overhead_s(TASK, store), task_overhead_s(WITH_CANARY, store)) for _ in range(rounds)
    ]
    show("task outside its worker", [without for without, _ in rounds_s], "s")
    show("with a canary", [with_one for _, with_one in rounds_s], "s")
    pairs = [
        (wall_s("-m", "velodrome.scheduler.cli", "--help"), wall_s("-c", "pass"))
        for _ in range(rounds)
    ]
    show("velodrome --help", [helped for helped, _ in pairs], "s")
    show("python -c pass", [bare for _, bare in pairs], "s")


def compare_group(store: EnvironmentStore, rounds: int) -> None:
    store.build("torch", on_progress=print)
    for task in (ALONE, GROUP):
        task_overhead_s(task, store)
    found = [(task_overhead_s(ALONE, store), task_overhead_s(GROUP, store)) for _ in range(rounds)]
    show("task outside its worker", [alone for alone, _ in found], "s")
    show("on two processes", [group for _, group in found], "s")
    show("difference", [group - alone for alone, group in found], "s")


def task_overhead_s(task: Task, store: EnvironmentStore) -> float:
    """Return the wall time of a task less that from Hello to Finished."""
    lived = {}

    def note(event: object) -> None:
        if isinstance(event, (Hello, Finished)):
            lived[type(event)] = event.at_ns

    started_ns = time.monotonic_ns()
    measurement = execute(
        task, node=take_inventory(), repeat=0, attempt=1, environments=store, on_event=note
    )
    wall_ns = time.monotonic_ns() - started_ns
    if not measurement.status.has_number:
        sys.exit(f"{task.label}: {measurement.status.value}: {measurement.reason}")
    return (wall_ns - (lived[Finished] - lived[Hello])) / 1e9


def wall_s(*words: str) -> float:
    started_ns = time.monotonic_ns()
    subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
    return (time.monotonic_ns() - started_ns) / 1e9


def show(what: str, values: list[float], unit: str) -> None:
    print(
        f"{what:26} median {statistics.median(values):.3f} {unit}  "
        f"[{min(values):.3f} .. {max(values):.3f}] of {len(values)}"
    )


if __name__ == "__main__":
    main()
