"""The search for the largest batch size that fits: each try is a worker of its own.

A try runs every timed call of the task at one size (action `fit`), on the task's cores and GPUs,
under the usual supervisor with its memory limit. So a size that does not fit ends one process, and
nothing is learned from a framework that has already run out of memory once.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum

import psutil

from velodrome.adapters.models import MODELS
from velodrome.adapters.protocol import LOADING_PHASES, USUAL_PHASES, Finished, FirstCall
from velodrome.agents.batch_search import bounds as limits
from velodrome.agents.batch_search.bounds import SizeBounds
from velodrome.agents.batch_search.candidates import choose_size
from velodrome.agents.batch_search.kept_sizes import FoundSize, SizeFile, find_file
from velodrome.agents.measurement import Status
from velodrome.agents.node import Node
from velodrome.agents.outcomes import GIB, WorkerLimits, decide_outcome
from velodrome.agents.requests import measure_request
from velodrome.agents.session import Session, WorkerSetting, run_session
from velodrome.agents.task import Task
from velodrome.agents.worker_report import last

TRY_DEADLINE_S = 300.0
# A larger batch takes longer in proportion at most: it is not tried if it cannot be in time.
CLEARLY = 2.0


class TrialVerdict(Enum):
    """The outcome of one try, as the search needs it."""

    FITS = "fits"
    NO_MEMORY = "does not fit"
    TOO_SLOW = "is too slow"
    CRASHED = "crashed"
    REFUSED = "is refused"


@dataclass(frozen=True)
class SizeTrial:
    """One tried size. reason: why it does not fit.

    call_s: its longest call, once compiled. peak_bytes: the most memory of its processes.
    """

    size: int
    verdict: TrialVerdict
    reason: str = ""
    call_s: float = 0.0
    peak_bytes: int = 0


class NoSizeFound(Exception):
    """The batch size `auto` has no value here; the reason says what ended the smallest try."""

    def __init__(self, status: Status, reason: str, log_tail: str = "") -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.log_tail = log_tail


@dataclass(frozen=True)
class FoundBatchSize:
    """The batch size of a task on this node. file: where it is kept; None: it is not."""

    found: FoundSize
    file: SizeFile | None

    @property
    def size(self) -> int:
        return self.found.size

    @property
    def note(self) -> str:
        """A note for the task's row."""
        return f"batch size auto: {self.size} is the largest that fits; {self.found.reason}"

    def lower(self) -> None:
        """Let the next measurement take a smaller size: this one ran out of memory."""
        if self.file:
            self.file.lower(self.found)


def find_batch_size(
    task: Task, node: Node, setting: WorkerSetting, on_note: Callable[[str], None]
) -> FoundBatchSize:
    """Return the kept size of this task on this node, or search for it and keep it.

    A size that the task has already is that of another node of this type, and is taken if it fits.
    If too little memory is available now, a smaller size is searched, and is not kept. setting: the
    task's own, its cores and GPUs locked. NoSizeFound, EnvironmentFailed, StartFailed.
    """
    if task.model not in MODELS:
        known = ", ".join(sorted(MODELS))
        raise NoSizeFound(Status.UNSUPPORTED, f"there is no model {task.model!r}. Known: {known}")
    bounds = make_bounds(task, node)
    file = find_file(
        setting.home,
        task,
        setting.framework,
        setting.environment.hash,
        node.node_type,
        setting.gpus,
        bounds,
    )
    available_bytes = psutil.virtual_memory().available
    kept = file.load()
    now = replace(bounds, memory=bounds.memory.limited_to(available_bytes))
    if task.batch_size and not (kept and kept.size == task.batch_size):
        return FoundBatchSize(_check_given(task, setting, now, on_note), None)
    if kept and kept.peak_bytes <= limits.count_free_bytes(available_bytes):
        return FoundBatchSize(kept, file)
    found = _search(task, setting, now, on_note, {})
    if not now.memory.is_lasting:
        return FoundBatchSize(found, None)
    file.save(found)
    return FoundBatchSize(found, file)


def make_bounds(task: Task, node: Node) -> SizeBounds:
    """Return the bounds of a task's search on a node, whatever else runs there."""
    model = MODELS[task.model]
    most, reason = limits.find_most(model, node.physical, node.ram_bytes)
    return SizeBounds(
        start=model.default_batch_size(task.device),
        most=most,
        reason=reason,
        memory=limits.compute_memory_bound(task.limits.memory_bytes, node.ram_bytes),
        call_s=limits.compute_longest_call(task.timing),
    )


def _check_given(
    task: Task, setting: WorkerSetting, bounds: SizeBounds, on_note: Callable[[str], None]
) -> FoundSize:
    """Take the size of another node of this type, or search for a smaller one that fits now.

    Where as much memory is available as the other node could use, its try is as good as one here.
    """
    given = FoundSize(task.batch_size, "found on another node of this type", 0)
    if bounds.memory.is_lasting:
        return given
    trial = _try_size(task, given.size, setting, bounds)
    on_note(f"batch size {given.size} of {task.label}: {_describe_trial(trial)}")
    if trial.verdict is TrialVerdict.FITS:
        return replace(given, peak_bytes=trial.peak_bytes)
    return _search(task, setting, bounds, on_note, {given.size: trial})


def _search(
    task: Task,
    setting: WorkerSetting,
    bounds: SizeBounds,
    on_note: Callable[[str], None],
    trials: dict[int, SizeTrial],
) -> FoundSize:
    """Search for the largest size. trials: those that are made already; the others are added."""

    def list_sizes(*, fitting: bool) -> list[int]:
        return [
            size for size, one in trials.items() if (one.verdict is TrialVerdict.FITS) is fitting
        ]

    while size := choose_size(
        bounds.start, bounds.most, list_sizes(fitting=True), list_sizes(fitting=False)
    ):
        slow = _foresee_slow(size, trials, bounds)
        try:
            trials[size] = slow or _try_size(task, size, setting, bounds)
        except NoSizeFound as error:
            if not list_sizes(fitting=True):
                raise
            trials[size] = SizeTrial(size, TrialVerdict.REFUSED, error.reason)
        on_note(f"batch size {size} of {task.label}: {_describe_trial(trials[size])}")
    return _conclude(trials, bounds)


def _conclude(trials: dict[int, SizeTrial], bounds: SizeBounds) -> FoundSize:
    """Return the largest size that fits, with the reason of the next one. NoSizeFound."""
    fitting = [size for size, one in trials.items() if one.verdict is TrialVerdict.FITS]
    failing = [one for size, one in sorted(trials.items()) if one.verdict is not TrialVerdict.FITS]
    if fitting:
        larger = [one for one in failing if one.size > max(fitting)]
        reason = f"{larger[0].size} {_describe_trial(larger[0])}" if larger else bounds.reason
        return FoundSize(max(fitting), reason, trials[max(fitting)].peak_bytes)
    smallest = failing[0]
    reason = f"not even a batch of {smallest.size}: {smallest.reason}"
    raise NoSizeFound(_STATUS[smallest.verdict], reason)


_STATUS = {
    TrialVerdict.NO_MEMORY: Status.OUT_OF_MEMORY,
    TrialVerdict.TOO_SLOW: Status.TIMED_OUT,
    TrialVerdict.CRASHED: Status.CRASHED,
    TrialVerdict.REFUSED: Status.UNSUPPORTED,
}


def _describe_trial(trial: SizeTrial) -> str:
    return trial.verdict.value + (f": {trial.reason}" if trial.reason else "")


def _foresee_slow(size: int, trials: dict[int, SizeTrial], bounds: SizeBounds) -> SizeTrial | None:
    """Return the verdict on a size that need not be tried: its call would clearly take too long."""
    smaller = [
        one for one in trials.values() if one.verdict is TrialVerdict.FITS and one.size < size
    ]
    if not smaller:
        return None
    nearest = max(smaller, key=lambda one: one.size)
    expected_s = nearest.call_s * size / nearest.size
    if expected_s <= CLEARLY * bounds.call_s:
        return None
    return SizeTrial(size, TrialVerdict.TOO_SLOW, _explain_slow(expected_s, bounds, "would take"))


def _explain_slow(call_s: float, bounds: SizeBounds, verb: str) -> str:
    return (
        f"a call {verb} {call_s:.3g} s, and only {bounds.call_s:.3g} s leave time for the least "
        "number of samples"
    )


def _try_size(task: Task, size: int, setting: WorkerSetting, bounds: SizeBounds) -> SizeTrial:
    """Try a size; again after a crash, which may be another's doing."""
    trial = _try_once(task, size, setting, bounds)
    is_crash = trial.verdict is TrialVerdict.CRASHED
    return _try_once(task, size, setting, bounds) if is_crash else trial


def _try_once(task: Task, size: int, setting: WorkerSetting, bounds: SizeBounds) -> SizeTrial:
    deadline_s = min(TRY_DEADLINE_S, setting.bounds.deadline_s)
    own = replace(setting.bounds, memory_bytes=bounds.memory.size_bytes, deadline_s=deadline_s)
    request = measure_request(task, setting.framework)._replace(action="fit", batch_size=size)
    # Reading of batches holds no more than the other phases, and needs a data set of that size.
    phases = tuple(phase for phase in request.phases if phase not in LOADING_PHASES)
    request = request._replace(phases=phases or USUAL_PHASES)
    session = run_session(
        request, replace(setting, bounds=own, sampling_hz=0.0), lambda event: None
    )
    verdict = decide_outcome(
        session, WorkerLimits(deadline_s, bounds.memory.size_bytes, task.timing)
    )
    match verdict.status:
        case Status.OK:
            peak_bytes = _read_peak_bytes(task, session)
            if peak_bytes > bounds.memory.size_bytes:
                used, limit = peak_bytes / GIB, bounds.memory.size_bytes / GIB
                reason = f"used {used:.2f} GiB for a moment, the limit is {limit:.2f} GiB"
                return SizeTrial(
                    size, TrialVerdict.NO_MEMORY, _explain_memory(reason, bounds, task)
                )
            return _judge_time(size, session, bounds)
        case Status.OUT_OF_MEMORY:
            return SizeTrial(
                size, TrialVerdict.NO_MEMORY, _explain_memory(verdict.reason, bounds, task)
            )
        case Status.TIMED_OUT:
            return SizeTrial(size, TrialVerdict.TOO_SLOW, verdict.reason)
        case Status.CRASHED:
            return SizeTrial(size, TrialVerdict.CRASHED, verdict.reason)
        case _:  # no size can change it
            raise NoSizeFound(verdict.status, verdict.reason, session.log_tail)


def _read_peak_bytes(task: Task, session: Session) -> int:
    """Return the peak that the worker read of the kernel, on the CPU: a short one goes unseen.

    On a GPU much of a process is mapped libraries, and the limit is the device's.
    """
    finished = last(session.events, Finished)
    return finished.peak_rss_bytes if finished and task.device == "cpu" else 0


def _explain_memory(reason: str, bounds: SizeBounds, task: Task) -> str:
    return reason if task.device == "gpu" else f"{reason} ({bounds.memory.origin})"


def _judge_time(size: int, session: Session, bounds: SizeBounds) -> SizeTrial:
    """Judge a size whose calls all returned, by the longest of their last calls."""
    last = {
        event.phase: event.elapsed_ns for event in session.events if isinstance(event, FirstCall)
    }
    call_s = max(last.values(), default=0) / 1e9
    if call_s > bounds.call_s:
        return SizeTrial(
            size, TrialVerdict.TOO_SLOW, _explain_slow(call_s, bounds, "takes"), call_s
        )
    peak_bytes = session.ending.tree_rss_bytes if session.ending else 0
    return SizeTrial(size, TrialVerdict.FITS, call_s=call_s, peak_bytes=peak_bytes)
