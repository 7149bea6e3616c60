"""A canary: one small model, in one framework, run on a task's cores or GPU just before and after.

When a number moves from one sweep to another, the canaries around it tell whether the machine did
(velodrome.scheduler.statistics.canary_attribution). It is a session of a worker like any other. The
canary after a task serves as the one before the next on the same cores, if that begins soon; so it
is kept in a file, since one process seldom runs two tasks. Whatever goes wrong with a canary is
told in a note and is no harm to the task.
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
from velodrome.adapters.protocol import Imported, Request, Timed, Timing, encode_request
from velodrome.adapters.registry import Framework
from velodrome.agents.cores.assignment import DoesNotFit
from velodrome.agents.cores.core_locks import WaitedTooLong
from velodrome.agents.cores.lock_files import LocksUnusable
from velodrome.agents.environments.environment import Environment
from velodrome.agents.environments.failures import EnvironmentFailed
from velodrome.agents.environments.frameworks import framework_named
from velodrome.agents.environments.private_folders import make_private
from velodrome.agents.environments.recipes import RecipeError
from velodrome.agents.environments.store import EnvironmentStore
from velodrome.agents.isolation.supervised import StartFailed
from velodrome.agents.isolation.worker_process import Bounds
from velodrome.agents.measurement import Measurement
from velodrome.agents.node import Node
from velodrome.agents.outcomes import Bounded, decide
from velodrome.agents.references import ReferenceFailed, reference
from velodrome.agents.session import Setting, hold_session, to_measure
from velodrome.agents.task import Task
from velodrome.agents.worker_report import last

TIMING = Timing(target=1e-6, min_samples=1, min_seconds=0.05, max_seconds=0.05)  # of each phase
DEADLINE_S = 30.0
RECENT_S = 10.0
DISTURBED = 0.1  # by which canaries before and after may differ, relative
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
class Heard:
    """What a canary took, ns per call. model: what ran; only the same compare. Else the problem."""

    model: str = ""
    ns: float | None = None
    problem: str = ""


@dataclass(frozen=True)
class Canary:
    """One that can be run, as often as is wanted."""

    request: Request
    framework: Framework
    environment: Environment
    reference: bytes

    def before(self, setting: Setting) -> Heard:
        """One that ran just now on the same cores will do."""
        return _kept(self._file(setting)) or self.after(setting)

    def after(self, setting: Setting) -> Heard:
        """Run on the task's cores and GPUs, within its locks and its memory."""
        bounds = replace(setting.bounds, deadline_s=DEADLINE_S)
        own = replace(setting, environment=self.environment, framework=self.framework)
        heard = self._run(replace(own, bounds=bounds, sampling_hz=0.0), bounds)
        if heard.ns:
            _keep(self._file(setting), heard)
        return heard

    def _run(self, setting: Setting, bounds: Bounds) -> Heard:
        try:
            session = hold_session(self.request, setting, lambda event: None, self.reference)
        except FAULTS as error:
            return Heard(problem=str(error))
        verdict = decide(session, Bounded(bounds.deadline_s, bounds.memory_bytes, TIMING))
        imported, timed = last(session.events, Imported), last(session.events, Timed)
        if not (verdict.status.has_number and imported and timed):
            return Heard(problem=verdict.reason or "it was not timed")
        version = imported.framework_version
        return Heard(f"{CANARY.name}, {self.framework.name} {version}", timed.median_ns)

    def _file(self, setting: Setting) -> Path:
        """Named by what decides the number, and by the boot, with which the clock begins anew."""
        where = (setting.bounds.cpus, [gpu.uuid for gpu in setting.gpus], self.environment.hash)
        asked = f"{encode_request(self.request)} {hashlib.sha256(self.reference).hexdigest()}"
        text = f"{_boot()} {where} {asked}"
        name = hashlib.sha256(text.encode()).hexdigest()[:20]
        return setting.home / "canaries" / f"{name}.json"


@dataclass(frozen=True)
class Silent:
    """No canary can be run, or none was asked for: then the problem is empty."""

    problem: str = ""

    def before(self, setting: Setting) -> Heard:
        return Heard(problem=self.problem)

    after = before


def canary_for(
    task: Task, node: Node, environments: EnvironmentStore, on_note: Callable[[str], None]
) -> Canary | Silent:
    """The one that the task asks for, its reference computed. No environment is built for it."""
    if not task.canary:
        return Silent()
    try:
        framework = framework_named(task.canary)
        environment = environments.find(task.canary, task.device)
        if environment is None:
            where = f"on this node for {task.device}"
            return Silent(f"the environment of {task.canary} is not built {where}")
        tiny = replace(
            task,
            framework=framework.name,
            variant=framework.default_variant,
            model=CANARY.name,
            batch_size=MODELS[CANARY.name].default_batch_size(task.device),
            seed=0,
            timing=TIMING,
        )
        known = reference(tiny, node, environments, on_note)
    except FAULTS as error:
        return Silent(str(error))
    return Canary(to_measure(tiny, framework), framework, environment, known.content)


def with_canaries(measurement: Measurement, before: Heard, after: Heard) -> Measurement:
    """The measurement and what was heard around it."""
    problem = before.problem or after.problem
    notes = (f"no canary: {problem}",) if problem else ()
    story = _disturbed(before, after)
    return replace(
        measurement,
        canary_model=before.model or after.model,
        canary_before_ns=before.ns,
        canary_after_ns=after.ns,
        notes=measurement.notes + notes,
        interference_free=False if story else measurement.interference_free,
        interference="; ".join(filter(None, (measurement.interference, story))),
    )


def _disturbed(before: Heard, after: Heard) -> str:
    """In words, empty where the two took about as long."""
    if not (before.ns and after.ns and before.model == after.model):
        return ""
    change = after.ns / before.ns - 1
    if max(after.ns / before.ns, before.ns / after.ns) <= 1 + DISTURBED:
        return ""
    how = "longer" if change > 0 else "less"
    return f"the canary took {100 * abs(change):.0f} % {how} after it than before"


def _kept(file: Path) -> Heard | None:
    """None if there is none of the last RECENT_S, or its file is no such file."""
    try:
        at_s, model, ns = json.loads(file.read_text())
        is_recent = 0 <= time.monotonic() - at_s <= RECENT_S
        return Heard(str(model), float(ns)) if is_recent and ns > 0 else None
    except (OSError, ValueError, TypeError):
        return None


def _keep(file: Path, heard: Heard) -> None:
    """As well as may be: a canary that is not kept runs again."""
    making = file.with_suffix(f".{os.getpid()}")
    with suppress(OSError):
        make_private(file.parent)
        making.write_text(json.dumps((time.monotonic(), heard.model, heard.ns)))
        making.replace(file)


def _boot() -> str:
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return ""
