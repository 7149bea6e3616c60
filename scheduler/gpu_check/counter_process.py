"""A GPU's own energy counter, read at 20 Hz by a process that shares no code with the sampler.

Prints `INSTANT_NS MILLIJOULES` lines (CLOCK_MONOTONIC, and since the driver was loaded) until its
standard input is closed. Exit status 1 with a message if the GPU has no counter.
"""

import select
import subprocess
import sys
import time
from types import TracebackType

import pynvml

INTERVAL_S = 0.05
STOP_S = 10.0
Point = tuple[int, float]  # ns, and joules


def main() -> None:
    """Read the counter of the GPU that the one argument names by UUID."""
    try:
        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByUUID(sys.argv[1])
        is_over = False
        while not is_over:
            millijoules = pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
            sys.stdout.write(f"{time.monotonic_ns()} {millijoules}\n")
            is_over = bool(select.select([sys.stdin], [], [], INTERVAL_S)[0])
    except pynvml.NVMLError as error:
        sys.exit(str(error))


class CounterPoints:
    """Reads the counter in the block. points: afterwards; problem: why there are none."""

    def __init__(self, uuid: str) -> None:
        self._command = [sys.executable, "-m", __name__, uuid]
        self.points: tuple[Point, ...] = ()
        self.problem = ""

    def __enter__(self) -> "CounterPoints":
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            self._command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, start_new_session=True
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            printed, self.problem = self._process.communicate("", STOP_S)
        except BaseException:
            self._process.kill()
            raise
        pairs = (line.split() for line in printed.splitlines())
        self.points = tuple((int(at_ns), int(counted) / 1000) for at_ns, counted in pairs)


if __name__ == "__main__":
    main()
