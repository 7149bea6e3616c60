"""Readings of a worker's tree, its machine and its GPUs, taken from outside while it runs.

The sampling is done by a process of its own (velodrome.agents.sampling.sampler_process), because a
thread of the agent would wait for the agent's other Python, and hold it up: beside an agent that
decodes events it came 7 to 10 ms late (median), the process 0.2 ms. Its instants go to memory that
both share: the agent has nothing to drain, and what was read is there even if the sampler is
killed.
"""

import json
import logging
import os
import subprocess
import sys
import time
from contextlib import closing, suppress
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType

from velodrome.agents.measurement import Reading
from velodrome.agents.node import Gpu
from velodrome.agents.sampling.readings import peak_rss_bytes, to_readings
from velodrome.agents.sampling.sampler_process import Instant, Probe

log = logging.getLogger(__name__)

KILLED_S = 1.0
STOP_S = 5.0  # it ends within milliseconds, but on a busy machine it may still be starting
START = (
    "import sys; sys.path += sys.argv[2:]; "
    "from velodrome.agents.sampling.sampler_process import main; main()"
)


class Sampler:
    """Samples the tree of process `pid` at `hz`, from entering until leaving.

    Leave it before the worker is waited for: what a process used is gone with it. `core` is the
    CPU to run on, None wherever the agent may run. After leaving, `readings` holds every
    instant, the first from entering and the last from leaving (or from the worker's end).
    peak_rss_bytes is the largest sum over the tree at one instant, and no less than the largest
    peak of one of its processes; None if the worker was gone at once. cost_cpu_seconds is what
    the sampling itself took, its start included. fault: why readings are missing; empty: none are.
    """

    def __init__(
        self, pid: int, hz: float = 10.0, core: int | None = None, gpus: tuple[Gpu, ...] = ()
    ) -> None:
        if hz <= 0:
            raise ValueError(f"cannot sample {hz} times a second; give a rate above 0")
        self.readings: tuple[Reading, ...] = ()
        self.peak_rss_bytes: int | None = None
        self.cost_cpu_seconds = 0.0
        self.fault = ""
        self._asked = {
            "pid": pid,
            "hz": hz,
            "core": core,
            "parent": os.getpid(),
            "gpus": [(gpu.index, gpu.uuid) for gpu in gpus],
        }
        self._pid = pid
        self._gpus = gpus

    def __enter__(self) -> "Sampler":
        # The process is ready only after 30 ms: so the first instant is read here.
        self._first = _instant(self._pid)
        self._lines = os.memfd_create("velodrome-instants")
        self._noise = os.memfd_create("velodrome-sampler-stderr")
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-I",
                "-S",
                "-c",
                START,
                json.dumps(self._asked),
                *_import_paths(self._gpus),
            ],
            stdin=subprocess.PIPE,
            stdout=self._lines,
            stderr=self._noise,
            start_new_session=True,  # Ctrl-C is for the agent, which then ends it
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._stop()
            instants = [*self._first, *_instants(_contents(self._lines))]
        finally:
            os.close(self._lines)
            os.close(self._noise)
        self.readings = to_readings(instants)
        self.peak_rss_bytes = peak_rss_bytes(instants)
        self.cost_cpu_seconds = instants[-1].cost_ns / 1e9 if instants else 0.0

    def _stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.fault = f"its sampler hung for {STOP_S:g} s, as GPU drivers make it"
            self._process.kill()
            with suppress(subprocess.TimeoutExpired):  # within a driver it may outlive even that
                self._process.wait(KILLED_S)
        if self._process.returncode != 0:
            said = _contents(self._noise).decode(errors="replace").strip()
            status = self._process.returncode
            log.warning("the sampler of process %d ended with %d: %s", self._pid, status, said)


def _instant(pid: int) -> list[Instant]:
    """The first one, as far as the process is still there. The GPUs are left to the sampler."""
    begun_ns = time.thread_time_ns()
    try:
        with closing(Probe(pid)) as probe:
            instant = probe.read()
    except ProcessLookupError:
        return []
    cost_ns = time.thread_time_ns() - begun_ns
    return [instant._replace(cost_ns=cost_ns)] if instant else []


def _instants(lines: bytes) -> list[Instant]:
    """Of whole lines: a sampler that is killed may leave half a one."""
    return [Instant.of_line(line) for line in lines.splitlines(keepends=True) if line[-1:] == b"\n"]


def _contents(descriptor: int) -> bytes:
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0)


def _import_paths(gpus: tuple[Gpu, ...]) -> list[str]:
    """Where the bare interpreter finds this package, and NVML's where it is needed."""
    source = str(Path(__file__).parents[3])
    driver = find_spec("pynvml") if gpus else None
    return [source, str(Path(driver.origin).parent)] if driver and driver.origin else [source]
