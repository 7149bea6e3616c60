"""The outcome of a task, decided from its worker's events and the end of its processes."""

import signal
from collections.abc import Sequence
from dataclasses import dataclass

from velodrome.adapters.protocol import (
    DISCONNECTED,
    KILLED,
    Failed,
    Finished,
    Hello,
    Timed,
    Timing,
)
from velodrome.agents.isolation.supervised import ExitCause, TreeExit
from velodrome.agents.measurement import EndOrigin, Status
from velodrome.agents.safe_text import sanitize_line
from velodrome.agents.session import Session
from velodrome.agents.worker_report import last, phase_reached

GIB = 2**30
REASON_LENGTH = 1000

# A worker may report these statuses itself. The agent and the driver decide all others, above all
# `lost`, which is retried.
_WORKER_STATUSES = (
    Status.DISAGREED,
    Status.UNSUPPORTED,
    Status.ENVIRONMENT_FAILED,
    Status.OUT_OF_MEMORY,
    Status.CRASHED,
)


_CRASHES = {
    ExitCause.SUPERVISOR: "another process killed the worker's supervisor",
    ExitCause.STOPPED: "another process stopped the worker's supervisor",
    ExitCause.WORKER_STOPPED: "a signal stopped the worker, which was killed after 2 s",
    ExitCause.RELEASED: "the worker went silent and was killed",
}


@dataclass(frozen=True)
class Outcome:
    """status and its reason, one line, empty for `ok`. notes: for the reader of a row.

    origin: of an end in a group.
    """

    status: Status
    reason: str
    notes: tuple[str, ...] = ()
    origin: EndOrigin = EndOrigin.OWN


@dataclass(frozen=True)
class WorkerLimits:
    """The limits of a worker. memory_bytes 0: no limit."""

    deadline_s: float
    memory_bytes: int
    timing: Timing


def decide_outcome(session: Session, limits: WorkerLimits) -> Outcome:
    """Decide how a task ended. After `finished` there is a number, whatever happened later.

    The session has checked that there is a proof and a time of every phase.
    """
    if last(session.events, Finished):
        return _finished_outcome(session, limits.timing)
    if failed := last(session.events, Failed):
        return _failed_outcome(failed)
    if session.broken:
        broken = _in_one_line(session.broken)
        return Outcome(Status.CRASHED, f"the worker broke the protocol: {broken}")
    return _unfinished_outcome(session, limits)


def _failed_outcome(failed: Failed) -> Outcome:
    reason = _in_one_line(failed.reason)
    if failed.status == DISCONNECTED:
        return Outcome(Status.LOST, reason, origin=EndOrigin.PEER)
    if failed.status == KILLED:
        return Outcome(Status.CRASHED, reason)
    status = Status(failed.status) if failed.status in _WORKER_STATUSES else Status.CRASHED
    is_error = status is Status.CRASHED
    return Outcome(status, reason, origin=EndOrigin.ERROR if is_error else EndOrigin.OWN)


def _finished_outcome(session: Session, timing: Timing) -> Outcome:
    notes = _late_notes(session.ending)
    unstable = [event for event in session.events if isinstance(event, Timed) and not event.stable]
    if not unstable:
        return Outcome(Status.OK, "", notes)
    return Outcome(Status.UNSTABLE, _instability_reasons(unstable, timing), notes)


def _instability_reasons(unstable: Sequence[Timed], timing: Timing) -> str:
    """Describe why phases are not stable; phases with the same reason together."""
    templates = {
        "wide": f"the interval is wider than the target of {100 * timing.target:g} % after "
        f"{timing.max_seconds:g} s: {{}}",
        "few": f"too few samples for a 95 % interval within {timing.max_seconds:g} s: {{}}",
        "kinds": "bimodal samples, whose median depends on the share of each mode: {}",
        "slow": "low-frequency noise, which more time may average out: {}",
        "drift": "the speed changed during the timing: {}",
    }
    evidence: dict[str, list[str]] = {}
    for event in unstable:
        reason = _instability_reason(event, timing)
        evidence.setdefault(reason, []).append(_evidence(event, reason))
    return "; ".join(
        template.format(", ".join(evidence[reason]))
        for reason, template in templates.items()
        if reason in evidence
    )


def _instability_reason(event: Timed, timing: Timing) -> str:
    """Return the reason; a narrow range of few samples is not an interval yet."""
    if event.doubt in ("wide", "few", "kinds", "slow", "drift"):
        return event.doubt
    return "wide" if _width(event) > timing.target else "few"


def _evidence(event: Timed, reason: str) -> str:
    if reason == "wide":
        return f"{event.phase} ±{_percent(_width(event))} %"
    if reason == "drift":
        return f"{event.phase} by {_percent(event.drift)} %"
    if reason == "few" and 0 < event.worth < event.samples:
        return f"{event.phase} {event.samples}, equivalent to {event.worth:.0f} independent ones"
    return f"{event.phase} {event.samples}" if reason == "few" else event.phase


def _percent(share: float) -> str:
    """Round to two digits, without an exponent above 1 %."""
    return f"{100 * share:.0f}" if share >= 0.1 else f"{100 * share:.2g}"


def _width(event: Timed) -> float:
    """Half the interval, over the median."""
    return (event.high_ns - event.low_ns) / 2 / event.median_ns if event.median_ns else 0.0


def _late_notes(ending: TreeExit | None) -> tuple[str, ...]:
    """List notes on events after the last number."""
    notes = []
    if ending is None or ending.cause is not ExitCause.EXIT:
        notes.append("the worker did not end by itself after it finished")
    elif ending.signal:
        notes.append(f"the worker was killed by {_signal(ending.signal)} after it finished")
    if ending and ending.cause is ExitCause.EXIT and ending.stragglers:
        notes.append(f"{ending.stragglers} processes outlived the worker and were killed")
    return tuple(notes)


def _unfinished_outcome(session: Session, limits: WorkerLimits) -> Outcome:
    ending, where = session.ending, phase_reached(session.events)
    if ending is None:
        pids = " and ".join(map(str, session.survivors))
        return Outcome(
            Status.CRASHED,
            f"processes of the worker cannot be killed and lock its cores: pid {pids} ({where}). "
            "End them, or restart the machine",
        )
    match ending.cause:
        case ExitCause.DEADLINE:
            return Outcome(Status.TIMED_OUT, f"not finished after {limits.deadline_s:g} s: {where}")
        case ExitCause.MEMORY:
            used = f"{ending.tree_rss_bytes / GIB:.2f} GiB"
            limit = f"{limits.memory_bytes / GIB:.2f} GiB"
            return Outcome(Status.OUT_OF_MEMORY, f"used {used}, the limit is {limit}: {where}")
        case ExitCause.EXIT:
            return _exit_outcome(session, ending)
        case _:
            return Outcome(Status.CRASHED, f"{_CRASHES[ending.cause]}: {where}")


def _exit_outcome(session: Session, ending: TreeExit) -> Outcome:
    where = phase_reached(session.events)
    if ending.signal == signal.SIGKILL and session.kernel_kills:
        peak = session.peak_rss_bytes
        used = f" (it used {peak / GIB:.2f} GiB)" if peak else ""
        return Outcome(
            Status.OUT_OF_MEMORY, f"the kernel killed it for lack of memory{used}: {where}"
        )
    if ending.signal:
        is_bad_alloc = ending.signal == signal.SIGABRT and "bad_alloc" in session.log_tail
        status = Status.OUT_OF_MEMORY if is_bad_alloc else Status.CRASHED
        # NCCL and JAX abort a process whose peers are gone.
        aborts = ending.signal == signal.SIGABRT and not is_bad_alloc
        origin = EndOrigin.ERROR if aborts else EndOrigin.OWN
        return Outcome(status, f"killed by {_signal(ending.signal)} {where}", origin=origin)
    message = f": {line}" if (line := _last_line(session.log_tail)) else ""
    if not last(session.events, Hello):
        code = ending.exit_code
        reason = f"the environment's interpreter ended with exit code {code}{message}"
        return Outcome(Status.ENVIRONMENT_FAILED, reason)
    reason = f"ended with exit code {ending.exit_code} {where}{message}"
    return Outcome(Status.CRASHED, reason, origin=EndOrigin.ERROR)


def _signal(number: int) -> str:
    """Describe it, such as `SIGSEGV (segmentation fault)`."""
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    return f"{name} ({(signal.strsignal(number) or 'unknown').lower()})"


def _in_one_line(text: str) -> str:
    """A framework's exception may contain anything, of any length."""
    return sanitize_line(text, REASON_LENGTH)


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else ""
