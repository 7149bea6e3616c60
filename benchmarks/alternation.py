"""An adapter and the bare loop of its framework, call by call in turns, in one process.

Runs in the framework's own interpreter, on Python 3.6 too. What a process has by luck (where its
memory lies, how fast its core is just then) both share, so that what is left is the adapter's own
doing. A round is four samples, of one sort (A), twice of the other, and again of the first, then
the other way round: a drift of the machine falls out. A sample is the same calls for both, some
10 ms, after one that is not timed. Prints JSON, one object a line:

    {"framework_version": ...}
    {"phase": "forward", "calls": 2, "ours_ns": [...], "bare_ns": [...],       one entry a round
     "ours_cpu_ns": [...], "bare_cpu_ns": [...]}

CPU time, of all the process' threads, is what is left to look at while others use the machine.

`--first bare` makes the bare loop's network first, whose memory then lies elsewhere. With `--null`
the bare loop stands in for the adapter too: what the machine makes of two things that are alike.
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
    ours, bare = made(options)
    gc.collect()
    gc.disable()
    for phase in ("forward", "gradient"):
        alternate(phase, ours, bare, options.seconds)


def made(options):
    """(ours, bare), each a loop.Calls.

    What is set up once per process, when the adapter is imported and made, is its choice.
    """
    adapter = None if options.null else begun(options)
    script = import_module(options.framework + "_loop")

    def bare():
        return script.make(options.model, options.batch_size, options.threads)

    def ours():
        return bare() if options.null else built(adapter, options)

    if options.first == "ours":
        first = ours()
        return first, bare()
    first = bare()
    return ours(), first


def begun(options):
    from velodrome.adapters.models import MODELS

    kind = import_module(options.adapter).Adapter
    say({"framework_version": kind.version()})
    model = MODELS[options.model]
    return kind(model, options.variant, "cpu", options.threads, "float32")


def built(adapter, options):
    """The adapter, ready to be called, as a worker would have it."""
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
    """Rounds until the time is over, three at least."""
    for calls in (ours, bare):  # everything is compiled, and caches are warm
        for index in range(calls.batches):
            getattr(calls, phase)(index)
        sample_s(calls, phase, [0] * 5)
    count = max(1, int(SAMPLE_S / sample_s(bare, phase, [0])[0]))
    indices = cycle(range(bare.batches))
    found, rounds, told, ends = Rounds(), 0, time.time(), time.time() + seconds
    while rounds < 3 or time.time() < ends:
        a, b = (0, 1) if rounds % 2 else (1, 0)
        own = list(islice(indices, count))
        spent = [(which, sample_s((ours, bare)[which], phase, own)) for which in (a, b, b, a)]
        found.add(spent, count)
        rounds += 1
        if time.time() - told > CHUNK_S:
            say(found.line(phase, count))
            found, told = Rounds(), time.time()
    if found.ns["ours_ns"]:
        say(found.line(phase, count))


class Rounds(object):
    """ns of one call, a list per name of the lines' lists."""

    def __init__(self):
        self.ns = {"ours_ns": [], "bare_ns": [], "ours_cpu_ns": [], "bare_cpu_ns": []}

    def add(self, spent, count):
        """spent: (0 ours or 1 bare, (wall, cpu) in s), two samples of each."""
        for which, name in enumerate(("ours", "bare")):
            for kind, clock in enumerate(("ns", "cpu_ns")):
                both = [sample[kind] for own, sample in spent if own == which]
                self.ns["{}_{}".format(name, clock)].append(int(1e9 * sum(both) / 2 / count))

    def line(self, phase, count):
        return dict(self.ns, phase=phase, calls=count)


def sample_s(calls, phase, indices):
    """(wall time, CPU time of all threads)."""
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
    parser.add_argument("adapter", help="the module that holds it")
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
