"""The cost of sampling for the sampled process: gradients with the sampler over without.

    python benchmarks/sampling.py [--blocks 40] [--seconds 0.5] [--hz 10] [--json FILE]

One worker computes gradients of the NumPy adapter on one core; one sampler reads it all the while,
but is stopped (SIGSTOP) in every other stretch. A block is with, without, without, with, or the
other way round, so that a drift of the machine falls out; its ratio is that of the two sums.
`median` is of the times of single gradients, as Velodrome reports them, `mean` of all of them, from
which no reading can hide; `cpu` is of the worker's own CPU time, which still tells of caches while
others use the machine. `again` is the one half without over the other: what the machine does by
itself. Given are medians over the blocks with their 95 % interval by the sign test.

`spare`: the sampler has a core to itself; `shared`: worker and sampler have one core together.
"""

import argparse
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from velodrome.adapters.timing.intervals import Interval, compute_median_interval
from velodrome.agents.inventory import take_inventory
from velodrome.agents.sampling.sampler import Sampler

BOUNDS = {"spare": 1.005, "shared": 1.01}
SHARE_BOUND_PERCENT = 1.0
START_S = 1.0  # of the sampler: to import, to look at all processes once, to know the tree

WORKER = """
import json, os, sys, time
os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"
os.sched_setaffinity(0, {int(sys.argv[1])})
from velodrome.adapters.proof import seeding
from velodrome.adapters.models import MODELS
from velodrome.adapters.frameworks.numpy.adapter import Adapter
model = MODELS[sys.argv[2]]
adapter = Adapter(model, "float64", "cpu", 1, "float64")
adapter.build(seeding.draw_weights(model, 0))
adapter.load(seeding.draw_batches(model, int(sys.argv[3]), 0))
now = time.perf_counter_ns
for line in sys.stdin:
    until = now() + int(float(line) * 1e9)
    spent = []
    cpu = time.thread_time_ns()
    while now() < until:
        begun = now()
        adapter.gradient(0)
        spent.append(now() - begun)
    print(json.dumps([spent, time.thread_time_ns() - cpu]), flush=True)
"""

Times = dict[str, float]  # ns of one gradient, by `median`, `mean` and `cpu`


class Worker:
    """Ready from entering on."""

    def __init__(self, core: int, model: str, batch_size: int) -> None:
        command = [sys.executable, "-c", WORKER, str(core), model, str(batch_size)]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
        self.pid = self._process.pid

    def __enter__(self) -> "Worker":
        self.work(0.5)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stdin.close()
        self._process.wait()

    def work(self, seconds: float) -> Times:
        print(seconds, file=self._process.stdin, flush=True)
        spent, cpu = json.loads(self._process.stdout.readline())
        return {
            "median": statistics.median(spent),
            "mean": statistics.fmean(spent),
            "cpu": cpu / len(spent),
        }


class Stopped:
    """A sampler that runs only when it is let."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._clock = (~pid << 3) | 2  # of its CPU time, in ns
        self.run_s = 0.0
        self.cpu_s = 0.0
        self._process.suspend()

    @contextmanager
    def let(self) -> Iterator[None]:
        begun, cpu_ns = time.monotonic(), time.clock_gettime_ns(self._clock)
        self._process.send_signal(signal.SIGCONT)
        yield
        self._process.suspend()
        self.run_s += time.monotonic() - begun
        self.cpu_s += (time.clock_gettime_ns(self._clock) - cpu_ns) / 1e9


def blocks(worker: Worker, sampler: Stopped, count: int, seconds: float) -> Iterator[dict]:
    """`with` and `without`: two stretches each."""
    for _ in range(count):
        found: dict[str, list[Times]] = {"with": [], "without": []}
        first, second = random.sample(["with", "without"], 2)
        for stretch in (first, second, second, first):
            if stretch == "without":
                found[stretch].append(worker.work(seconds))
            else:
                with sampler.let():
                    found[stretch].append(worker.work(seconds))
        yield found


def ratios(found: list[dict], figure: str) -> dict[str, Interval]:
    def ratio(block: dict) -> float:
        sums = {stretch: sum(times[figure] for times in block[stretch]) for stretch in block}
        return sums["with"] / sums["without"]

    def again(block: dict) -> float:
        one, other = block["without"]
        return one[figure] / other[figure]

    return {
        "with": compute_median_interval([ratio(block) for block in found]),
        "again": compute_median_interval([again(block) for block in found]),
    }


def case(name: str, cores: tuple[int, int], asked: argparse.Namespace) -> list[dict]:
    """Rows of one case, told as they are known. cores: the worker's and the sampler's."""
    with (
        Worker(cores[0], asked.model, asked.batch_size) as worker,
        Sampler(worker.pid, hz=asked.hz, core=cores[1]) as sampler,
    ):
        (own,) = [child for child in psutil.Process().children() if child.pid != worker.pid]
        time.sleep(START_S)
        stopped = Stopped(own.pid)
        found = list(blocks(worker, stopped, asked.blocks, asked.seconds))
        own.resume()
    rows = [
        row(name, figure, over, interval)
        for figure in ("median", "mean", "cpu")
        for over, interval in ratios(found, figure).items()
    ]
    rows.append(
        {
            "core": name,
            "figure": "sampler",
            "percent_of_a_core": round(100 * stopped.cpu_s / stopped.run_s, 3),
            "whole_cpu_ms": round(1000 * sampler.cost_cpu_seconds),
        }
    )
    return rows


def row(name: str, figure: str, over: str, interval: Interval) -> dict:
    known = interval.covered
    return {
        "core": name,
        "figure": figure,
        "over_without": over,
        "ratio": round(interval.median, 4),
        "low": round(interval.low, 4) if known else None,
        "high": round(interval.high, 4) if known else None,
    }


def told(row: dict) -> str:
    if row["figure"] == "sampler":
        share = row["percent_of_a_core"]
        holds = "holds" if share <= SHARE_BOUND_PERCENT else "is over"
        return f"{row['core']:6} sampler {share:.2f} % of a core: {holds} {SHARE_BOUND_PERCENT} %"
    bounds = f"[{row['low']}, {row['high']}]" if row["low"] else "[too few blocks]"
    line = f"{row['core']:6} {row['figure']:6} {row['over_without']:>5}/without {row['ratio']:.4f}"
    return f"{line} {bounds:18} {verdict(row)}"


def verdict(row: dict) -> str:
    if row["over_without"] == "again" or not row["low"]:
        return ""
    bound = BOUNDS[row["core"]]
    if row["high"] <= bound:
        return f"holds {bound}"
    return f"is over {bound}" if row["low"] > bound else f"{bound} lies in its interval"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--blocks", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=0.5, help="of one stretch")
    parser.add_argument("--hz", type=float, default=10.0)
    parser.add_argument("--model", default="lenet")
    parser.add_argument("--batch-size", type=int, default=2)
    parser.add_argument("--json", type=Path, help="where to keep the figures")
    asked = parser.parse_args()
    allowed = sorted(os.sched_getaffinity(0))
    about = {
        "benchmark": "sampling",
        "began": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "cpu_model": take_inventory().cpu_model,
        "cores": len(allowed),
        "hz": asked.hz,
        "model": asked.model,
        "batch_size": asked.batch_size,
        "blocks": asked.blocks,
        "seconds_per_stretch": asked.seconds,
        "load_at_begin": round(os.getloadavg()[0], 1),
    }
    print(about)
    rows = []
    for name, core in {"spare": allowed[-1], "shared": allowed[0]}.items():
        if name == "spare" and len(allowed) < 2:
            continue
        found = case(name, (allowed[0], core), asked)
        print(*map(told, found), sep="\n", flush=True)
        rows += found
        if asked.json:
            ended = {"load_at_end": round(os.getloadavg()[0], 1), "rows": rows}
            asked.json.write_text(json.dumps({**about, **ended}, indent=1) + "\n")


if __name__ == "__main__":
    main()
