"""A process of somebody else on the GPU: a task that runs beside it has to say so."""

import os
import select
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from velodrome.agents.measurement import Measurement
from velodrome.agents.task import Task
from velodrome.scheduler.gpu_check.gpu_tasks import Bench, list_figures
from velodrome.scheduler.gpu_check.steps import StepOutcome, failed, passed, skipped

READY_S = 60.0
END_S = 10.0

_LOOP = """
print("ready", flush=True)
while not select.select([sys.stdin], [], [], 0)[0]:
    work()
"""
# Each multiplies 256 MiB by one, again and again, until its standard input is closed.
PROGRAMS = {
    "torch": """
import select, sys, torch
block = torch.ones(2**26, device="cuda")
def work():
    block.mul_(1.0)
    torch.cuda.synchronize()
work()
"""
    + _LOOP,
    "jax": """
import os, select, sys
os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
import jax
block = jax.device_put(jax.numpy.ones(2**26), jax.devices("gpu")[0])
times_one = jax.jit(lambda values: values * 1.0)
def work():
    times_one(block).block_until_ready()
work()
"""
    + _LOOP,
}


class NotOccupied(Exception):
    """The program that should occupy the GPU did not."""


def find_command(framework: str, python: str) -> tuple[str, ...]:
    """Return the command that occupies a GPU with a framework; empty if there is no program."""
    program = PROGRAMS.get(framework)
    return (python, "-c", program) if program else ()


def check_foreign_process(
    bench: Bench, task: Task, command: Sequence[str], left_s: float
) -> StepOutcome:
    """Measure a task beside a process on its GPU. Skipped if the driver hides processes."""
    if bench.gpu.is_amd:
        return skipped("there is no program that occupies a GPU of AMD's")
    if not command:
        return skipped(f"there is no program that occupies a GPU with {task.framework}")
    try:
        with _occupied(command, bench.environ, bench.gpu.uuid) as pid:
            return judge_interference(bench.measure(task, left_s), pid)
    except NotOccupied as error:
        return failed(str(error))


def judge_interference(measurement: Measurement, pid: int) -> StepOutcome:
    """Pass if a measurement names the process, or that its GPU was busy before it began."""
    figures = {**list_figures(measurement), "pid": pid}
    if not measurement.status.has_number:
        return failed(f"{measurement.status}: {measurement.reason}", figures)
    found = [part for part in measurement.interference.split("; ") if "GPU" in part]
    if any(f"pid {pid} " in part for part in found):
        return passed("; ".join(found), figures)
    seen = {gpu.other_processes for reading in measurement.readings for gpu in reading.gpus}
    if seen <= {None}:
        text = "the driver hides the processes of others here"
        if found:
            return passed(f"{text}; noticed by other signs: {'; '.join(found)}", figures)
        return skipped(f"{text}, and none was noticed: {measurement.minor_interference}", figures)
    return failed(f"pid {pid} is not named: {'; '.join(found) or 'no interference'}", figures)


@contextmanager
def _occupied(command: Sequence[str], environ: Mapping[str, str], uuid: str) -> Iterator[int]:
    """Yield the PID of a process that occupies the GPU. NotOccupied if it does not come to it."""
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command,
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        env={**environ, "CUDA_VISIBLE_DEVICES": uuid},
        start_new_session=True,
    ) as process:
        try:
            _await_ready(process)
            yield process.pid
        finally:
            process.kill()
            process.wait(END_S)


def _await_ready(process: "subprocess.Popen[bytes]") -> None:
    assert process.stdout is not None and process.stderr is not None
    if not select.select([process.stdout], [], [], READY_S)[0]:
        raise NotOccupied(f"the process that occupies the GPU was not ready after {READY_S:g} s")
    if not os.read(process.stdout.fileno(), 1024):
        tail = process.stderr.read().decode(errors="replace").strip().splitlines()[-1:]
        raise NotOccupied(f"the process that occupies the GPU ended: {' '.join(tail)}")
