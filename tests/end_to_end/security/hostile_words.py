"""Hostile strings, and a row that holds them."""

import re
from dataclasses import replace

from velodrome.adapters.protocol import Timed, Verified
from velodrome.agents.measurement import Measurement, Status
from velodrome.agents.task import Task

SWEEP = "20261124-063012-a1b2"
EVIL = (
    "\x1b]0;owned\x07[bold]loud[/bold]\x1b[2J<script>alert(1)</script>[x](javascript:alert(1))"
    "\r\nall is well\u202e|`"
)
UNSEEN = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def measured(**changes: object) -> Measurement:
    timed = Timed("forward", 1e6, 0.99e6, 1.01e6, 30, 2, 5, "target", stable=True)
    ended = Measurement(
        Task("torch", "eager", "probe-lrn", 8),
        *(0, 1, Status.OK, "", "n1", "host1", "t1", 1.0, 2.0),
        rerun="velodrome measure torch probe-lrn",
        forward=timed,
        gradient=timed._replace(phase="gradient"),
        verified=Verified(2.3, 1e-6, 1e-5, (), (), 7),
        kernels=(f"openblas {EVIL}",),
        notes=(f"composed: Lrn {EVIL}",),
    )
    return replace(ended, **changes)
