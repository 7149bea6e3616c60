"""The cost per sample of the stopping rule; it runs between samples, never within one.

    python benchmarks/stopping_cost.py [--rounds 5]

velodrome.adapters.worker.call_timing.time_calls runs with a stopwatch whose times are fixed
beforehand; the figure is the CPU time of this process within the rule, over all samples taken. It
is the minimum over rounds, since other load only adds to it.

Series: `calm` is stable at once; `noisy` never meets its target, so that the rule runs up to the
time limit; `drifting` is narrow but drifts, so that every call of the rule makes all its tests.
"""

import argparse
import gc
import random
import time
from collections.abc import Sequence
from itertools import cycle

from velodrome.adapters.protocol import Timing
from velodrome.adapters.worker import call_timing
from velodrome.adapters.worker.call_timing import Calls, WarmUp

MS = 1_000_000
LIMIT_US = 20.0
COUNTS = (33, 100, 1000, 10_000)


class Script:
    """A stopwatch with fixed times."""

    def __init__(self, lengths_ns: Sequence[int]) -> None:
        self._lengths = cycle(lengths_ns)

    def start(self) -> int:
        return 0

    def stop(self) -> int:
        return next(self._lengths)


def series(kind: str, count: int) -> list[int]:
    draw = random.Random(count)
    deviation, slope = {"calm": (0.01, 0), "noisy": (0.3, 0), "drifting": (0.005, 0.05)}[kind]
    return [
        int(MS * max(1 + draw.gauss(0, deviation) + slope * index / count, 0.01))
        for index in range(count)
    ]


def cost_us(lengths_ns: Sequence[int]) -> tuple[float, int]:
    """Return the rule's cost per sample, and the number of samples that it took."""
    rules = Timing(target=0.01, min_seconds=0.0, max_seconds=sum(lengths_ns) / 1e9)
    calls = Calls(lambda index: None, 1, Script(lengths_ns))
    rule, spent_ns = call_timing.find_stop_reason, 0

    def timed_rule(elapsed_ns: Sequence[int], timing: Timing) -> str:
        nonlocal spent_ns
        started_ns = time.process_time_ns()
        reason = rule(elapsed_ns, timing)
        spent_ns += time.process_time_ns() - started_ns
        return reason

    call_timing.find_stop_reason = timed_rule
    try:
        timed = call_timing.time_calls("forward", calls, WarmUp(1, 1), rules, lambda chunk: None)
    finally:
        call_timing.find_stop_reason = rule
    return spent_ns / 1000 / timed.samples, timed.samples


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    gc.freeze()
    worst = 0.0
    for kind in ("calm", "noisy", "drifting"):
        for count in COUNTS:
            lengths_ns = series(kind, count)
            found, taken = min(cost_us(lengths_ns) for _ in range(options.rounds))
            worst = max(worst, found)
            print(f"{kind:9} of {count:6}: {taken:6} samples taken, {found:5.1f} us a sample")
    print(f"at most {worst:.1f} us a sample; the limit is {LIMIT_US:g}")
    return int(worst > LIMIT_US)


if __name__ == "__main__":
    raise SystemExit(main())
