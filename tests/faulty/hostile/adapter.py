"""The NumPy adapter with hostile output, in another way per variant."""

import json
import os
import sys

from velodrome.adapters.frameworks.numpy.adapter import Adapter as Sound

EVIL = (
    "\x1b]0;owned\x07\x1b[2J<script>alert(1)</script>[x](javascript:alert(1))[bold]loud[/bold]"
    "\r\nall is well\u202e\ud800|`=1+1"
)
MIB = "x" * 2**20


def say(**fields):
    """An event of its own, past the worker; on the descriptor that the worker was given."""
    write(json.dumps(fields) + "\n")


def write(text):
    rest = text.encode("utf-8", "surrogatepass")
    while rest:
        rest = rest[os.write(int(sys.argv[2]), rest) :]


class Adapter(Sound):
    def __init__(self, model, variant, device, threads, dtype):
        super().__init__(model, "float64", device, threads, dtype)
        self._way = variant

    @staticmethod
    def version():
        return EVIL + MIB

    def notes(self):
        return tuple(super().notes()) + (EVIL + MIB,) + (EVIL,) * 200

    def kernels(self):
        return (EVIL + MIB, *(EVIL + str(number) for number in range(200)))

    def build(self, weights):
        os.write(2, b"\xff\xfe\x1b[2J" + EVIL.encode("utf-8", "surrogatepass"))
        getattr(self, self._way)()
        super().build(weights)

    def words(self):
        """Sound otherwise."""

    def raises(self):
        raise RuntimeError("{0} {1} {0}".format(EVIL.replace("\n", " "), MIB))

    def types(self):
        say(event="built", build_ns=-1, transfer_ns="soon", at_ns=1e400)
        os._exit(0)

    def flood(self):
        """Return an overlong line that still fits into the pipe."""
        write(MIB * 16 + MIB[: 2**15])
        os._exit(0)

    def claims(self):
        """To be tried again for ever."""
        say(event="failed", status="lost", reason=EVIL + MIB, detail=EVIL + MIB, at_ns=1)
        os._exit(0)

    def unproven(self):
        timed = {"phase": "forward", "samples": 9, "calls": 1, "warmup_samples": 1}
        bounds = {"low_ns": 1, "median_ns": 1, "high_ns": 1}
        say(event="timed", stop_reason="target", stable=True, **timed, **bounds)
        say(event="finished", peak_gpu_memory_bytes=0, at_ns=1)
        os._exit(0)
