"""What sampling costs the thing that is sampled: the same work with the sampler and without.

    python benchmarks/sampling.py [--rounds 20] [--seconds 1] [--hz 10]

One worker does one fixed piece of work over and over (a float32 matrix product, like a step of a
framework) and times each. A round is one stretch with a sampler and two without, in an order
drawn by lot, so that drift of the machine lands on all; `again/without` shows what the machine
does by itself. Ratios are of the medians, which is what Velodrome reports, and of the means, which
no rare disturbance can hide from; `cpu` is the worker's own CPU time, which still tells of caches
when others use the machine. Given are medians over the rounds with a 95 % interval.
`spare`: the sampler has a core to itself; `shared`: worker and sampler have one core together.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TypeAlias

from velodrome.adapters.intervals import median_interval
from velodrome.agents.sampling.sampler import Sampler

START_S = 0.3  # a sampler is started before the timed phases; its start is no part of them

WORKER = """
import json, os, sys, time
os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"
os.sched_setaffinity(0, {int(sys.argv[1])})
import numpy
a = numpy.random.rand(512, 512).astype("float32")
b = numpy.empty_like(a)
now = time.perf_counter_ns
for line in sys.stdin:
    until = now() + int(float(line) * 1e9)
    spent = []
    cpu = time.thread_time_ns()
    while now() < until:
        begun = now()
        numpy.matmul(a, a, out=b)
        spent.append(now() - begun)
    print(json.dumps([spent, time.thread_time_ns() - cpu]), flush=True)
"""


Worker: TypeAlias = "subprocess.Popen[str]"


@contextmanager
def worker(core: int) -> Iterator[Worker]:
    command = [sys.executable, "-c", WORKER, str(core)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as process:
        yield process


def work(process: Worker, seconds: float) -> dict[str, float]:
    """ns of a piece of work: the median, the mean, and the mean of CPU time."""
    print(seconds, file=process.stdin, flush=True)
    spent, cpu = json.loads(process.stdout.readline())
    return {
        "median": statistics.median(spent),
        "mean": statistics.fmean(spent),
        "cpu": cpu / len(spent),
    }


def one_round(process: Worker, core: int, seconds: float, hz: float) -> dict[str, dict[str, float]]:
    spent = {}
    for stretch in random.sample(["with", "without", "again"], 3):
        sampler = Sampler(process.pid, hz=hz, core=core) if stretch == "with" else nullcontext()
        with sampler:
            time.sleep(START_S)
            spent[stretch] = work(process, seconds)
    return spent


def ratios(rounds: list[dict[str, dict[str, float]]]) -> Iterator[str]:
    for name in ("median", "mean", "cpu"):
        for stretch in ("with", "again"):
            found = median_interval([r[stretch][name] / r["without"][name] for r in rounds])
            bounds = f"[{found.low:.4f}, {found.high:.4f}]"
            yield f"{name:6} {stretch:>5}/without {found.median:.4f} {bounds}"


def share_of_a_core(process: Worker, core: int, seconds: float, hz: float) -> tuple[float, float]:
    """Percent of a core that the sampler takes, and milliseconds for its start."""
    with Sampler(process.pid, hz=hz, core=core) as started:
        pass
    begun = time.monotonic()
    with Sampler(process.pid, hz=hz, core=core) as sampler:
        work(process, seconds)
    spent = sampler.cost_cpu_seconds - started.cost_cpu_seconds
    return 100 * spent / (time.monotonic() - begun), 1000 * started.cost_cpu_seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--hz", type=float, default=10.0)
    asked = parser.parse_args()
    allowed = sorted(os.sched_getaffinity(0))
    print(f"{len(allowed)} CPUs, load {os.getloadavg()[0]:.1f}, {asked.hz:g} Hz")
    for name, core in {"spare": allowed[-1], "shared": allowed[0]}.items():
        if name == "spare" and len(allowed) < 2:
            continue
        with worker(allowed[0]) as process:
            work(process, asked.seconds)
            rounds = [
                one_round(process, core, asked.seconds, asked.hz) for _ in range(asked.rounds)
            ]
            share, start_ms = share_of_a_core(process, core, 5 * asked.seconds, asked.hz)
            process.stdin.close()
        for line in ratios(rounds):
            print(f"{name:6} {line}")
        print(f"{name:6} sampler {share:.2f} % of a core, start {start_ms:.0f} ms of CPU time")
    print(f"load at the end {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
