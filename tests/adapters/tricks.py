"""Adapters that agree and cheat the clock, each by one trick, run by real workers.

Each trick is the NumPy adapter with a few lines around it. `armed` is set once it is verified, so
that nothing is wrong before.
"""

import textwrap

from worker_bench import Bench

from velodrome.adapters.protocol import (
    FAILED,
    Checked,
    Timing,
    Verified,
)

MODEL, BATCH = "lenet", 4
TRIES = 3
TOP = """
import os, threading, time
from velodrome.adapters import contract
from velodrome.adapters.proof import agreement
from velodrome.adapters.worker import call_timing as timing
def rest(seconds=0.0005):
    ends = time.process_time() + seconds
    while time.process_time() < ends:
        pass
"""
# `armed` is set at the first warm-up: the model has been verified by then.
ARMED = """
def stopwatch(self):
    self.armed = True
    return super().stopwatch()
armed = False
"""


class Tricks:
    """Runs tricks on small models; the reference of each is computed once."""

    def __init__(self, folder):
        self.folder = folder

    def run(self, body, model=MODEL, batch_size=BATCH, top="", max_seconds=0.1, **others):
        """max_seconds: of each phase. others: further fields of the request, such as its phases."""
        bench = Bench(self.folder)
        name = "-".join([model.replace("/", "-"), str(batch_size), *map(str, others.values())])
        reference = self.folder / f"{name}.npz"
        changes = {"model": model, "batch_size": batch_size, "reference": str(reference), **others}
        changes["datasets"] = str(self.folder / "datasets")
        if not reference.exists():
            bench.refer(**changes)
        bench.write_adapter(textwrap.dedent(ARMED) + textwrap.dedent(body), TOP + top)
        timing = Timing(target=0.1, min_samples=3, min_seconds=0.0, max_seconds=max_seconds)
        return bench.run(adapter="trial", timing=timing, **changes)

    def assert_caught(self, body, *checks, **changes):
        """Assert that a trick is verified, then caught by one of these checks and named.

        On a busy machine a check of time may be inconclusive: the trick is tried again.
        """
        for _ in range(TRIES):
            outcome = self.run(body, **changes)
            if any(has_outcome(event, FAILED) and event.name in checks for event in outcome.events):
                break
        failed = outcome.failure()
        assert failed.status == "disagreed", failed
        assert outcome.only(Verified)
        found = {event.name for event in outcome.events if has_outcome(event, FAILED)}
        assert found & set(checks), failed.reason
        assert " failed: " in failed.reason
        assert any(failed.reason.startswith(name) for name in found)


def has_outcome(event, outcome):
    return isinstance(event, Checked) and event.outcome == outcome
