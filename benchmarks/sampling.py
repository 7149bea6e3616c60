"""The cost of sampling for the sampled process: gradients with the sampler over without.

    python benchmarks/sampling.py [--blocks 40] [--seconds 0.5] [--hz 10] [--json FILE]

A worker computes gradients of the NumPy adapter on one core; a sampler reads it, but is stopped
(SIGSTOP) in every other period. A block is with, without, without, with, or the opposite, which
cancels a drift of the machine; its ratio is that of the two sums. `median` is of the times of
single gradients, as Velodrome reports them; `mean` is of all of them and contains the time of every
reading; `cpu` is the worker's own CPU time, which shows effects on caches even on a machine that
others use. `again` is one period without over the other: the variation of the machine. The figures
are medians over blocks with their 95 % interval by the sign test.

`spare`: the sampler has its own core; `shared`: worker and sampler share one core.
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
from contextlib import contextmanager, nullcontext
from pathlib import Path

import psutil

from velodrome.adapters.timing.intervals import Interval, compute_median_interval
from velodrome.agents.inventory import take_inventory
from velodrome.agents.sampling.sampler import Sampler

BOUNDS = {"spare": 1.005, "shared": 1.01}
SHARE_BOUND_PERCENT = 1.0
START_S = 1.0  # of the sampler: imports, a first look at all processes and the process tree

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
        started = now()
        adapter.gradient(0)
        spent.append(now() - started)
    print(json.dumps([spent, time.thread_time_ns() - cpu]), flush=True)
"""

Times = dict[str, float]  # ns of one gradient, by `median`, `mean` and `cpu`


class Worker:
    """A process that computes gradients; it is ready when entered."""

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


class StoppedSampler:
    """A sampler that is stopped outside `resumed`."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._clock = (~pid << 3) | 2  # of its CPU time, in ns
        self.run_s = 0.0
        self.cpu_s = 0.0
        self._process.suspend()

    @contextmanager
    def resumed(self) -> Iterator[None]:
        started_s, cpu_ns = time.monotonic(), time.clock_gettime_ns(self._clock)
        self._process.send_signal(signal.SIGCONT)
        yield
        self._process.suspend()
        self.run_s += time.monotonic() - started_s
        self.cpu_s += (time.clock_gettime_ns(self._clock) - cpu_ns) / 1e9


def run_blocks(
    worker: Worker, sampler: StoppedSampler, count: int, seconds: float
) -> Iterator[dict]:
    """Run blocks: two periods `with`, two `without` the sampler."""
    for _ in range(count):
        block: dict[str, list[Times]] = {"with": [], "without": []}
        first, second = random.sample(["with", "without"], 2)
        for period in (first, second, second, first):
            with nullcontext() if period == "without" else sampler.resumed():
                block[period].append(worker.work(seconds))
        yield block


def compute_ratios(blocks: list[dict], figure: str) -> dict[str, Interval]:
    def ratio(block: dict) -> float:
        sums = {period: sum(times[figure] for times in block[period]) for period in block}
        return sums["with"] / sums["without"]

    def again(block: dict) -> float:
        first, second = block["without"]
        return first[figure] / second[figure]

    return {
        "with": compute_median_interval([ratio(block) for block in blocks]),
        "again": compute_median_interval([again(block) for block in blocks]),
    }


def run_case(name: str, cores: tuple[int, int], options: argparse.Namespace) -> list[dict]:
    """Return the rows of one case. cores: the worker's and the sampler's."""
    with (
        Worker(cores[0], options.model, options.batch_size) as worker,
        Sampler(worker.pid, hz=options.hz, core=cores[1]) as sampler,
    ):
        (own,) = [child for child in psutil.Process().children() if child.pid != worker.pid]
        time.sleep(START_S)
        stopped = StoppedSampler(own.pid)
        blocks = list(run_blocks(worker, stopped, options.blocks, options.seconds))
        own.resume()
    rows = [
        make_row(name, figure, over, interval)
        for figure in ("median", "mean", "cpu")
        for over, interval in compute_ratios(blocks, figure).items()
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


def make_row(name: str, figure: str, over: str, interval: Interval) -> dict:
    is_bounded = interval.covered
    return {
        "core": name,
        "figure": figure,
        "over_without": over,
        "ratio": round(interval.median, 4),
        "low": round(interval.low, 4) if is_bounded else None,
        "high": round(interval.high, 4) if is_bounded else None,
    }


def format_row(row: dict) -> str:
    if row["figure"] == "sampler":
        share = row["percent_of_a_core"]
        holds = "holds" if share <= SHARE_BOUND_PERCENT else "is over"
        return f"{row['core']:6} sampler {share:.2f} % of a core: {holds} {SHARE_BOUND_PERCENT} %"
    bounds = f"[{row['low']}, {row['high']}]" if row["low"] else "[too few blocks]"
    line = f"{row['core']:6} {row['figure']:6} {row['over_without']:>5}/without {row['ratio']:.4f}"
    return f"{line} {bounds:18} {format_verdict(row)}"


def format_verdict(row: dict) -> str:
    if row["over_without"] == "again" or not row["low"]:
        return ""
    bound = BOUNDS[row["core"]]
    if row["high"] <= bound:
        return f"holds {bound}"
    return f"is over {bound}" if row["low"] > bound else f"{bound} lies in its interval"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--blocks", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=0.5, help="of one period")
    parser.add_argument("--hz", type=float, default=10.0)
    parser.add_argument("--model", default="lenet")
    parser.add_argument("--batch-size", type=int, default=2)
    parser.add_argument("--json", type=Path, help="file for the figures")
    options = parser.parse_args()
    allowed = sorted(os.sched_getaffinity(0))
    about = {
        "benchmark": "sampling",
        "began": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "cpu_model": take_inventory().cpu_model,
        "cores": len(allowed),
        "hz": options.hz,
        "model": options.model,
        "batch_size": options.batch_size,
        "blocks": options.blocks,
        "seconds_per_stretch": options.seconds,
        "load_at_begin": round(os.getloadavg()[0], 1),
    }
    print(about)
    rows = []
    for name, core in {"spare": allowed[-1], "shared": allowed[0]}.items():
        if name == "spare" and len(allowed) < 2:
            continue
        found = run_case(name, (allowed[0], core), options)
        print(*map(format_row, found), sep="\n", flush=True)
        rows += found
        if options.json:
            ended = {"load_at_end": round(os.getloadavg()[0], 1), "rows": rows}
            options.json.write_text(json.dumps({**about, **ended}, indent=1) + "\n")


if __name__ == "__main__":
    main()
