"""Sampling of a worker's tree, machine and GPUs from outside while it runs.

A separate process samples (velodrome.agents.sampling.sampler_process). A thread would compete with
the agent's other Python code: beside an agent that decodes events it was 7 to 10 ms late (median),
the process 0.2 ms. Instants go to shared memory: the agent has nothing to drain, and they survive a
killed sampler.
"""

import json
import logging
import os
import subprocess
import sys
import time
from contextlib import closing, suppress
from types import TracebackType

from velodrome.agents.measurement import Reading
from velodrome.agents.node import Gpu
from velodrome.agents.sampling.driver import import_paths
from velodrome.agents.sampling.readings import peak_rss_bytes, to_readings
from velodrome.agents.sampling.sampler_process import Instant, TaskProbe

log = logging.getLogger(__name__)

KILLED_S = 1.0
STOP_S = 5.0  # usually milliseconds; on a busy machine it may still be starting
START = (
    "import sys; sys.path += sys.argv[2:]; "
    "from velodrome.agents.sampling.sampler_process import main; main()"
)


class Sampler:
    """Samples the tree of process `pid` at `hz`, from entering until leaving the block.

    Leave the block before waiting for the worker: its counters end with it. `core`: the CPU to run
    on; None: wherever the agent may run. Afterwards `readings` has every instant, the first from
    entering and the last from leaving (or the worker's end). peak_rss_bytes: the largest sum over
    the tree at one instant, and at least the largest peak of one process; None if the worker ended
    at once. cost_cpu_seconds: CPU time of the sampling, its start included. fault: why readings are
    missing; empty: complete.
    """

    def __init__(
        self, pid: int, hz: float = 10.0, core: int | None = None, gpus: tuple[Gpu, ...] = ()
    ) -> None:
        if hz <= 0:
            raise ValueError(f"sampling_hz is {hz}. Give a rate above 0")
        self.readings: tuple[Reading, ...] = ()
        self.peak_rss_bytes: int | None = None
        self.cost_cpu_seconds = 0.0
        self.fault = ""
        self._arguments = {
            "pid": pid,
            "hz": hz,
            "core": core,
            "parent": os.getpid(),
            "gpus": [(gpu.index, gpu.uuid) for gpu in gpus],
            "are_amd": any(gpu.is_amd for gpu in gpus),
        }
        self._pid = pid
        self._gpus = gpus

    def __enter__(self) -> "Sampler":
        # The process is ready only after 30 ms, so the first instant is read here.
        self._first = _first_instant(self._pid)
        self._lines = os.memfd_create("velodrome-instants")
        self._errors = os.memfd_create("velodrome-sampler-stderr")
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-I",
                "-S",
                "-c",
                START,
                json.dumps(self._arguments),
                *import_paths()[: 2 if self._gpus else 1],
            ],
            stdin=subprocess.PIPE,
            stdout=self._lines,
            stderr=self._errors,
            start_new_session=True,  # Ctrl-C is for the agent, which then stops it
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
            instants = [*self._first, *_parse_instants(_read_shared(self._lines))]
        finally:
            os.close(self._lines)
            os.close(self._errors)
        self.readings = to_readings(instants)
        self.peak_rss_bytes = peak_rss_bytes(instants)
        self.cost_cpu_seconds = instants[-1].cost_ns / 1e9 if instants else 0.0

    def _stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.fault = (
                f"its sampler did not stop within {STOP_S:g} s; a GPU driver may have blocked it"
            )
            self._process.kill()
            with suppress(subprocess.TimeoutExpired):  # in a driver call it may outlive SIGKILL
                self._process.wait(KILLED_S)
        if self._process.returncode != 0:
            message = _read_shared(self._errors).decode(errors="replace").strip()
            status = self._process.returncode
            log.warning("the sampler of process %d ended with %d: %s", self._pid, status, message)


def _first_instant(pid: int) -> list[Instant]:
    """Read the first instant, without GPUs, if the process still exists."""
    before_ns = time.thread_time_ns()
    try:
        with closing(TaskProbe(pid)) as probe:
            instant = probe.read()
    except ProcessLookupError:
        return []
    cost_ns = time.thread_time_ns() - before_ns
    return [instant._replace(cost_ns=cost_ns)] if instant else []


def _parse_instants(lines: bytes) -> list[Instant]:
    """Parse whole lines only: a killed sampler may leave half a line."""
    return [
        Instant.from_line(line) for line in lines.splitlines(keepends=True) if line[-1:] == b"\n"
    ]


def _read_shared(descriptor: int) -> bytes:
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0)
