"""An adapter and the bare loop of its framework, called alternately in one process.

Runs in the framework's own interpreter, on Python 3.6 too. Both share the random properties of a
process (the place of its memory, the speed of its core), so that the difference is the adapter's. A
round is four samples, A B B A, and the next one B A A B, which cancels a drift of the machine. A
sample is the same calls for both, some 10 ms, after one that is not timed. Prints JSON, one object
a line:

    {"framework_version": ...}
    {"phase": "forward", "calls": 2, "ours_ns": [...], "bare_ns": [...],       one entry a round
     "ours_cpu_ns": [...], "bare_cpu_ns": [...]}

CPU time is of all threads of the process; it is the figure to use on a machine that others use.

`--first bare` makes the bare loop's network first, whose memory then lies elsewhere. `--null`
replaces the adapter by the bare loop, to test the method on two equal programs.
"""

import argparse
import gc
import json
import os
import sys
import time
from importlib import import_module
from itertools import cycle, islice

SAMPLE_S = 0.01
CHUNK_S = 1.0  # between two lines
BARE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "bare")


def main():
    options = arguments()
    sys.path.insert(0, BARE)
    loop = import_module("loop")
    loop.keep_freed_memory()
    ours, bare = make_sides(options)
    gc.collect()
    gc.disable()
    for phase in ("forward", "gradient"):
        alternate(phase, ours, bare, options.seconds)


def make_sides(options):
    """Return (ours, bare), each a loop.Calls.

    The adapter sets up what a process can set up only once, when it is imported and made.
    """
    adapter = None if options.null else make_adapter(options)
    script = import_module(options.framework + "_loop")

    def bare():
        return script.make(options.model, options.batch_size, options.threads)

    def ours():
        return bare() if options.null else build_adapter(adapter, options)

    if options.first == "ours":
        first = ours()
        return first, bare()
    first = bare()
    return ours(), first


def make_adapter(options):
    from velodrome.adapters.models import MODELS

    kind = import_module(options.adapter).Adapter
    say({"framework_version": kind.version()})
    model = MODELS[options.model]
    return kind(model, options.variant, "cpu", options.threads, "float32")


def build_adapter(adapter, options):
    """Prepare the adapter for calls as a worker does."""
    from loop import Calls

    from velodrome.adapters.models import MODELS
    from velodrome.adapters.proof import seeding

    model = MODELS[options.model]
    batches = seeding.draw_batches(model, options.batch_size, 0)
    adapter.build(seeding.draw_weights(model, 0))
    adapter.load(batches)
    adapter.set_dropout(True)
    return Calls(adapter.forward, adapter.gradient, adapter.synchronize, len(batches))


def alternate(phase, ours, bare, seconds):
    """Run rounds until the time is over, at least three."""
    for calls in (ours, bare):  # compile everything and warm the caches
        for index in range(calls.batches):
            getattr(calls, phase)(index)
        sample_s(calls, phase, [0] * 5)
    count = max(1, int(SAMPLE_S / sample_s(bare, phase, [0])[0]))
    indices = cycle(range(bare.batches))
    times, rounds, printed, ends = Rounds(), 0, time.time(), time.time() + seconds
    while rounds < 3 or time.time() < ends:
        a, b = (0, 1) if rounds % 2 else (1, 0)
        own = list(islice(indices, count))
        spent = [(which, sample_s((ours, bare)[which], phase, own)) for which in (a, b, b, a)]
        times.add(spent, count)
        rounds += 1
        if time.time() - printed > CHUNK_S:
            say(times.line(phase, count))
            times, printed = Rounds(), time.time()
    if times.ns["ours_ns"]:
        say(times.line(phase, count))


class Rounds(object):
    """Times of one call in ns, by the names of the printed lists."""

    def __init__(self):
        self.ns = {"ours_ns": [], "bare_ns": [], "ours_cpu_ns": [], "bare_cpu_ns": []}

    def add(self, spent, count):
        """Add a round. spent: (0 ours or 1 bare, (wall, cpu) in s), two samples of each."""
        for which, name in enumerate(("ours", "bare")):
            for kind, clock in enumerate(("ns", "cpu_ns")):
                both = [sample[kind] for own, sample in spent if own == which]
                self.ns["{}_{}".format(name, clock)].append(int(1e9 * sum(both) / 2 / count))

    def line(self, phase, count):
        return dict(self.ns, phase=phase, calls=count)


def sample_s(calls, phase, indices):
    """Time a sample: (wall time, CPU time of all threads)."""
    call = getattr(calls, phase)
    call(indices[0])
    calls.synchronize()
    started, cpu = time.perf_counter(), time.process_time()
    for index in indices:
        call(index)
    calls.synchronize()
    return time.perf_counter() - started, time.process_time() - cpu


def say(what):
    sys.stdout.write("\n" + json.dumps(what) + "\n")  # a framework may have left half a line
    sys.stdout.flush()


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("framework")
    parser.add_argument("adapter", help="its module")
    parser.add_argument("variant")
    parser.add_argument("model")
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=4.0, help="to sample for, per phase")
    parser.add_argument("--first", choices=("ours", "bare"), default="ours")
    parser.add_argument("--null", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
