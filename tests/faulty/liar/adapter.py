"""The NumPy adapter, which changes its worker's events on their way to the agent."""

import json
import os
import sys

from velodrome.adapters import protocol, wire_format
from velodrome.adapters.frameworks.numpy.adapter import Adapter as Sound
from velodrome.adapters.protocol import Phase, Timed, Verified

worker = sys.modules["__main__"]
true_clock, true_encode = protocol.monotonic_ns, wire_format.encode
NAN = float("nan")


def nan(event):
    if isinstance(event, Verified):
        entries = tuple(entry._replace(error=NAN) for entry in event.parameters)
        event = event._replace(parameters=entries, gradient_error=NAN)
    yield event


def bare(event):
    is_proof = isinstance(event, Verified)
    yield event._replace(parameters=(), gradient_error=0.0) if is_proof else event


def narrow(event):
    if isinstance(event, Timed):
        event = event._replace(low_ns=event.median_ns * 0.999, high_ns=event.median_ns * 1.001)
    yield event


def again(event):
    yield event
    if isinstance(event, Verified):
        yield event


def skips(event):
    is_warmup = isinstance(event, Phase) and event.name == "warmup"
    yield event._replace(name="update") if is_warmup else event


def endless(event):
    line = json.dumps({"event": "phase", "name": "warmup", "at_ns": event.at_ns}) + "\n"
    while True:
        os.write(int(sys.argv[2]), 200 * line.encode())


def tick(share):
    """Make every reading of the time run at another speed."""
    began_ns = true_clock()

    def told_ns():
        return began_ns + int((true_clock() - began_ns) * share)

    for name, module in list(sys.modules.items()):
        if name.startswith("velodrome.") and hasattr(module, "monotonic_ns"):
            module.monotonic_ns = told_ns
    worker.monotonic_ns = told_ns


CLOCKS = {"slow_clock": 0.25, "fast_clock": 4.0}
LIES = {"nan": nan, "bare": bare, "narrow": narrow, "again": again, "skips": skips}
LIES["endless"] = endless


class Adapter(Sound):
    def __init__(self, model, variant, device, threads, dtype):
        super().__init__(model, "float64", device, threads, dtype)
        if variant in CLOCKS:
            tick(CLOCKS[variant])
        else:
            lie = LIES[variant]
            worker.encode = lambda event: "\n".join(map(true_encode, lie(event)))
