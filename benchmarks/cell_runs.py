"""Runs of one cell: through Velodrome, as a bare loop, or both in one process."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from velodrome.adapters.models import MODELS
from velodrome.adapters.protocol import Timing
from velodrome.adapters.registry import FRAMEWORKS, Framework
from velodrome.agents.cores.assignment import ResourceRequest
from velodrome.agents.cores.core_locks import WaitedTooLong, lock_resources
from velodrome.agents.environments.environment import Environment
from velodrome.agents.environments.import_path import import_path
from velodrome.agents.environments.launch import launch_command
from velodrome.agents.environments.openblas_selection import choose_kernels
from velodrome.agents.environments.store import EnvironmentStore
from velodrome.agents.execution import execute
from velodrome.agents.isolation.worker_process import scratch_folder
from velodrome.agents.isolation.worker_variables import worker_variables
from velodrome.agents.node import Node
from velodrome.agents.task import Limits, Task

HERE = Path(__file__).parent
PHASES = ("forward", "gradient")
START_S = 400.0  # allowed per process beyond its timed seconds: Theano compiles for minutes


class RunFailed(Exception):
    """A run gave no number. The first line of the text has the reason."""


@dataclass(frozen=True)
class Cell:
    """A cell. variant: empty for the framework's default. examples: of a batch; 0: the model's.

    devices: processes that share each batch, with so many threads each.
    """

    framework: str
    model: str
    threads: int
    variant: str = ""
    examples: int = 0
    devices: int = 1

    @property
    def batch_size(self) -> int:
        return self.examples or MODELS[self.model].batch_size

    @property
    def registered(self) -> Framework:
        return FRAMEWORKS[self.framework]

    @property
    def label(self) -> str:
        variant = f"[{self.variant}]" if self.variant else ""
        count = f" x{self.devices}" if self.devices > 1 else ""
        return f"{self.framework}{variant} {self.model} b{self.batch_size} {self.threads}t{count}"


@dataclass(frozen=True)
class Bench:
    """The setting of runs: environments by framework; seconds are timed per phase and run."""

    node: Node
    store: EnvironmentStore
    environments: dict[str, Environment]
    seconds: float

    def limit_s(self, deadline: float) -> float:
        """Return the seconds that one process may take; deadline: a moment of time.monotonic()."""
        return max(1.0, min(deadline - time.monotonic(), START_S + 8 * self.seconds))


Medians = dict[str, float]  # ns by phase


def run_velodrome(cell: Cell, bench: Bench, deadline: float) -> Medians:
    """Run as `velodrome measure` does: verified, isolated, sampled."""
    seconds = bench.seconds
    task = Task(
        cell.framework,
        cell.variant or cell.registered.default_variant,
        cell.model,
        cell.batch_size,
        threads=cell.threads,
        processes=cell.devices,
        timing=Timing(target=1e-4, min_samples=10, min_seconds=seconds, max_seconds=seconds),
        limits=Limits(deadline_s=bench.limit_s(deadline)),
    )
    measurement = execute(
        task,
        node=bench.node,
        repeat=0,
        attempt=1,
        environments=bench.store,
        on_event=lambda event: None,
        locks_deadline_s=max(0.0, deadline - time.monotonic()),
    )
    if not measurement.status.has_number:
        raise RunFailed(f"{task.label}: {measurement.status.value}: {measurement.reason}")
    return {phase: getattr(measurement, phase).median_ns for phase in PHASES}


def run_bare_loop(cell: Cell, bench: Bench, deadline: float) -> Medians:
    """Run the script alone, on the same cores with the same variables."""
    words = [
        *start_words(cell),
        cell.model,
        f"--seconds={bench.seconds}",
    ]
    (times,) = run_script(words, cell, bench, deadline)
    return {phase: times[f"{phase}_ns"] for phase in PHASES}


def start_words(cell: Cell) -> list[str]:
    """Return the script, behind the framework's own launcher if there are several processes."""
    folder = HERE / "bare"
    if cell.devices == 1:
        return [str(folder / f"{cell.framework}_loop.py")]
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={cell.devices}"]
    return [*launcher, str(folder / f"{cell.framework}_group.py")]


def run_both(cell: Cell, bench: Bench, deadline: float, *options: str) -> list[dict]:
    """Run alternation.py and return its lines."""
    words = [
        str(HERE / "alternation.py"),
        cell.framework,
        cell.registered.adapter,
        cell.variant or cell.registered.default_variant,
        cell.model,
        f"--seconds={bench.seconds}",
        *options,
    ]
    return run_script(words, cell, bench, deadline)


def run_script(words: list[str], cell: Cell, bench: Bench, deadline: float) -> list[dict]:
    """Return a script's JSON output, run in the framework's interpreter on its own cores."""
    environment = bench.environments[cell.framework]
    sizes = [f"--batch-size={cell.batch_size}", f"--threads={cell.threads}"]
    limit_s = max(0.0, deadline - time.monotonic())
    try:
        with (
            lock_resources(
                bench.node,
                ResourceRequest(cell.threads * cell.devices),
                deadline_s=limit_s,
                on_wait=_wait,
            ) as lock,
            _variables(cell, bench, environment) as variables,
        ):
            cpus = lock.share.allotment.cpus
            done = subprocess.run(
                launch_command(environment, cell.registered.path, [*words, *sizes]),
                env=variables,
                preexec_fn=lambda: os.sched_setaffinity(0, cpus),
                capture_output=True,
                text=True,
                check=False,
                timeout=bench.limit_s(deadline),
            )
    except subprocess.TimeoutExpired as error:
        raise RunFailed(f"{Path(words[0]).name} took over {error.timeout:.0f} s") from error
    except (OSError, WaitedTooLong) as error:
        raise RunFailed(str(error)) from error
    if done.returncode:
        script = Path(words[0]).name
        raise RunFailed(f"{script}: exit status {done.returncode}\n{done.stderr[-2000:]}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def _wait(story: str) -> None:
    print(story, file=sys.stderr)


@contextmanager
def _variables(cell: Cell, bench: Bench, environment: Environment) -> Iterator[dict[str, str]]:
    environment.cache_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with scratch_folder() as temporary:
        importable = import_path(bench.store.root.parent, cell.registered)
        yield worker_variables(
            os.environ,
            import_path=importable,
            home=environment.cache_folder,
            temporary=temporary,
            threads=cell.threads,
            blas=choose_kernels(environment, importable).variables,
            recipe=environment.variables,
        )
