"""What planning costs: 100,000 tasks on 1,000 nodes, in seconds and MiB. Promised: 10 s and 1 GiB.

Seconds are of this process's CPU time, so that others on the machine do not count, and of the wall
clock beside it. Memory is the peak of a fresh process that does nothing else.

    python benchmarks/planning.py [--nodes 1000]
"""

import argparse
import resource
import time

from velodrome.agents.node import Core, Gpu, Node
from velodrome.scheduler.plans.planning import plan
from velodrome.scheduler.sweeps.expansion import expand
from velodrome.scheduler.sweeps.parts import Device, Entrant, Sweep, ThreadRule

MODELS = ("lenet", "alexnet", "alexnet-plain", "lstm", "gemm")
SWEEP = Sweep(
    name="large",
    entrants=tuple(Entrant(f"framework{n}", ("a", "b"), ("cpu", "gpu")) for n in range(100)),
    models=MODELS,
    batch_sizes=tuple((model, tuple(range(1, 11))) for model in MODELS),
    threads=(1, 2, 4, 8, ThreadRule.PHYSICAL),
    devices=(Device(), Device("gpu", 1)),
    repeats=1,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", type=int, default=1000)
    fleet = [node(number) for number in range(parser.parse_args().nodes)]
    before_mib = peak_mib()
    cpu_s, wall_s = time.process_time(), time.perf_counter()
    cells = expand(SWEEP)
    made = plan(cells, SWEEP, fleet, {})
    cpu_s, wall_s = time.process_time() - cpu_s, time.perf_counter() - wall_s
    print(
        f"{len(cells):,} cells on {len(fleet):,} nodes: {len(made.placements):,} placed, "
        f"{len(made.unplaceable):,} fit nowhere"
    )
    print(f"expanded and planned in {cpu_s:.2f} s of CPU time, {wall_s:.2f} s on the clock")
    print(f"peak {peak_mib():.0f} MiB, {before_mib:.0f} MiB of it before")


def node(number: int) -> Node:
    """Of 13 sizes, a third of them without a GPU."""
    name = f"n{number}"
    cores = tuple(Core(core, (core,)) for core in range(4 + number % 13))
    gpus = tuple(
        Gpu(index, "H100", f"{name}-gpu{index}", 80 * 2**30) for index in range(number % 3)
    )
    return Node(name, f"host-{name}", "CPU", cores, (8 + number) * 2**30, gpus=gpus)


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
