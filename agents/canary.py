"""Canary runs: one small model on a task's cores or GPU just before and after the task.

If a number changes between two sweeps, the canaries around it show whether the machine changed
(velodrome.scheduler.statistics.canary_attribution). A canary is an ordinary worker session. The one
after a task also serves as the one before the next task on the same cores, if that starts soon; it
is kept in a file, because one process seldom runs two tasks. A failed canary becomes a note and
does not affect the task.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from velodrome.adapters.models import MODELS
from velodrome.adapters.models.ceilings import CANARY
from velodrome.adapters.protocol import USUAL_PHASES, Imported, Request, Timed, Timing
from velodrome.adapters.registry import Framework
from velodrome.adapters.wire_format import encode_request
from velodrome.agents.cores.assignment import DoesNotFit
from velodrome.agents.cores.core_locks import WaitedTooLong
from velodrome.agents.cores.lock_files import LocksUnusable
from velodrome.agents.environments.environment import Environment
from velodrome.agents.environments.failures import EnvironmentFailed
from velodrome.agents.environments.frameworks import find_framework
from velodrome.agents.environments.private_folders import make_private
from velodrome.agents.environments.recipes import RecipeError
from velodrome.agents.environments.store import EnvironmentStore
from velodrome.agents.isolation.supervised import StartFailed
from velodrome.agents.isolation.worker_process import WorkerBounds
from velodrome.agents.measurement import Measurement
from velodrome.agents.node import Node
from velodrome.agents.outcomes import WorkerLimits, decide_outcome
from velodrome.agents.references import ReferenceFailed, obtain_reference
from velodrome.agents.requests import measure_request
from velodrome.agents.sampling.interference_finding import Phrase
from velodrome.agents.session import WorkerSetting, run_session
from velodrome.agents.task import Task
from velodrome.agents.worker_report import last

TIMING = Timing(target=1e-6, min_samples=1, min_seconds=0.05, max_seconds=0.05)  # of each phase
DEADLINE_S = 30.0
RECENT_S = 10.0
MAX_CHANGE = 0.1  # relative change from the canary before to the one after
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
FAULTS = (
    ReferenceFailed,
    EnvironmentFailed,
    RecipeError,
    WaitedTooLong,
    LocksUnusable,
    DoesNotFit,
    StartFailed,
    OSError,
)


@dataclass(frozen=True)
class CanaryResult:
    """A canary's time, ns per call, or its problem. model: only equal models compare."""

    model: str = ""
    ns: float | None = None
    problem: str = ""


@dataclass(frozen=True)
class Canary:
    """A canary that can be run any number of times."""

    request: Request
    framework: Framework
    environment: Environment
    reference: bytes

    def run_before(self, setting: WorkerSetting) -> CanaryResult:
        """Return the result of a recent run on the same cores, or run it."""
        return _load_recent(self._file(setting)) or self.run_after(setting)

    def run_after(self, setting: WorkerSetting) -> CanaryResult:
        """Run on the task's cores and GPUs, within its locks and its memory."""
        bounds = replace(setting.bounds, deadline_s=DEADLINE_S)
        own = replace(setting, environment=self.environment, framework=self.framework)
        result = self._run(replace(own, bounds=bounds, sampling_hz=0.0), bounds)
        if result.ns:
            _save(self._file(setting), result)
        return result

    def _run(self, setting: WorkerSetting, bounds: WorkerBounds) -> CanaryResult:
        try:
            session = run_session(self.request, setting, lambda event: None, self.reference)
        except FAULTS as error:
            return CanaryResult(problem=str(error))
        verdict = decide_outcome(
            session, WorkerLimits(bounds.deadline_s, bounds.memory_bytes, TIMING)
        )
        imported, timed = last(session.events, Imported), last(session.events, Timed)
        if not (verdict.status.has_number and imported and timed):
            return CanaryResult(problem=verdict.reason or "it was not timed")
        version = imported.framework_version
        return CanaryResult(f"{CANARY.name}, {self.framework.name} {version}", timed.median_ns)

    def _file(self, setting: WorkerSetting) -> Path:
        """Name the file by all that decides the time, and by the boot, which restarts the clock."""
        where = (setting.bounds.cpus, [gpu.uuid for gpu in setting.gpus], self.environment.hash)
        request = f"{encode_request(self.request)} {hashlib.sha256(self.reference).hexdigest()}"
        text = f"{_boot_id()} {where} {request}"
        name = hashlib.sha256(text.encode()).hexdigest()[:20]
        return setting.home / "canaries" / f"{name}.json"


@dataclass(frozen=True)
class NoCanary:
    """In place of a canary that cannot run (problem) or that the task does not ask for."""

    problem: str = ""

    def run_before(self, setting: WorkerSetting) -> CanaryResult:
        return CanaryResult(problem=self.problem)

    run_after = run_before


def canary_for(
    task: Task, node: Node, environments: EnvironmentStore, on_note: Callable[[str], None]
) -> Canary | NoCanary:
    """Return the task's canary, its reference computed. No environment is built for it."""
    if not task.canary:
        return NoCanary()
    try:
        framework = find_framework(task.canary)
        environment = environments.find(task.canary, task.device)
        if environment is None:
            where = f"on this node for {task.device}"
            return NoCanary(f"the environment of {task.canary} is not built {where}")
        tiny = replace(
            task,
            framework=framework.name,
            variant=framework.default_variant,
            model=CANARY.name,
            batch_size=MODELS[CANARY.name].default_batch_size(task.device),
            seed=0,
            timing=TIMING,
            phases=USUAL_PHASES,
            optimizer="",
        )
        reference = obtain_reference(tiny, node, environments, on_note)
    except FAULTS as error:
        return NoCanary(str(error))
    return Canary(measure_request(tiny, framework), framework, environment, reference.content)


def add_canaries(
    measurement: Measurement, before: CanaryResult, after: CanaryResult
) -> Measurement:
    """Add the canaries' results to a measurement."""
    problem = before.problem or after.problem
    notes = (f"no canary: {problem}",) if problem else ()
    change_text = _describe_change(before, after)
    return replace(
        measurement,
        canary_model=before.model or after.model,
        canary_before_ns=before.ns,
        canary_after_ns=after.ns,
        notes=measurement.notes + notes,
        interference_free=False if change_text else measurement.interference_free,
        interference="; ".join(filter(None, (measurement.interference, change_text))),
    )


def _describe_change(before: CanaryResult, after: CanaryResult) -> str:
    """Describe a change of time; empty if the two took about the same."""
    if not (before.ns and after.ns and before.model == after.model):
        return ""
    change = after.ns / before.ns - 1
    if max(after.ns / before.ns, before.ns / after.ns) <= 1 + MAX_CHANGE:
        return ""
    how = "longer" if change > 0 else "less"
    return f"{Phrase.CANARY} {100 * abs(change):.0f} % {how} after the task than before"


def _load_recent(file: Path) -> CanaryResult | None:
    """Load a recent result; None if the file is missing, older than RECENT_S, or invalid."""
    try:
        at_s, model, ns = json.loads(file.read_text())
        is_recent = 0 <= time.monotonic() - at_s <= RECENT_S
        return CanaryResult(str(model), float(ns)) if is_recent and ns > 0 else None
    except (OSError, ValueError, TypeError):
        return None


def _save(file: Path, result: CanaryResult) -> None:
    """Save the result, as best effort: a canary that is not saved runs again."""
    temporary = file.with_suffix(f".{os.getpid()}")
    with suppress(OSError):
        make_private(file.parent)
        temporary.write_text(json.dumps((time.monotonic(), result.model, result.ns)))
        temporary.replace(file)


def _boot_id() -> str:
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return ""
