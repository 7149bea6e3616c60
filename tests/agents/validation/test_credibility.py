"""A worker's events are accepted if the model, the request and the clocks agree with them."""

from collections.abc import Callable
from typing import Any

import pytest

from velodrome.adapters.protocol import (
    Built,
    Checked,
    Failed,
    Finished,
    FirstCall,
    Hello,
    Imported,
    Phase,
    Sampled,
    Timed,
    Verified,
)
from velodrome.adapters.tolerances import GRADIENT_TOLERANCE
from velodrome.agents.validation.arrivals import Arrival
from velodrome.agents.validation.events import Validated, validate

Arrivals = list[Arrival]
Lie = Callable[[Arrivals], Arrivals]
NAN = float("nan")


def validate_lie(honest: Any, lie: Lie) -> Validated:
    return validate(lie(list(honest.arrivals)), honest.request, honest.begun_ns)


def find_index(arrivals: Arrivals, kind: type, phase: str = "") -> int:
    for index, one in enumerate(arrivals):
        name = getattr(one.event, "phase", getattr(one.event, "name", ""))
        if isinstance(one.event, kind) and phase in ("", name):
            return index
    raise AssertionError(f"no {kind.__name__} of {phase!r} arrived")


def alter_event(kind: type, change: Callable[[Any], Any], phase: str = "") -> Lie:
    """Replace one event by another."""

    def lie(arrivals: Arrivals) -> Arrivals:
        index = find_index(arrivals, kind, phase)
        arrivals[index] = arrivals[index]._replace(event=change(arrivals[index].event))
        return arrivals

    return lie


def replace_fields(kind: type, phase: str = "", **fields: object) -> Lie:
    return alter_event(kind, lambda event: event._replace(**fields), phase)


def remove_events(kind: type, phase: str = "") -> Lie:
    """Remove all chunks of samples, however many the machine made."""

    def lie(arrivals: Arrivals) -> Arrivals:
        first = find_index(arrivals, kind, phase)
        wanted = arrivals[first].event
        left = [one for one in arrivals[first:] if not is_alike(one.event, wanted)]
        return [*arrivals[:first], *left]

    return lie


def is_alike(event: object, other: object) -> bool:
    if isinstance(event, Sampled) and isinstance(other, Sampled):
        return event.phase == other.phase
    return event is other


def repeat_event(kind: type, phase: str = "") -> Lie:
    def lie(arrivals: Arrivals) -> Arrivals:
        index = find_index(arrivals, kind, phase)
        return [*arrivals[: index + 1], *arrivals[index:]]

    return lie


def swap_events(kind: type, phase: str, other: type, other_phase: str) -> Lie:
    def lie(arrivals: Arrivals) -> Arrivals:
        left, right = find_index(arrivals, kind, phase), find_index(arrivals, other, other_phase)
        arrivals[left], arrivals[right] = arrivals[right], arrivals[left]
        return arrivals

    return lie


def parameters(change: Callable[[tuple[Any, ...]], tuple[Any, ...]]) -> Lie:
    return alter_event(Verified, lambda event: event._replace(parameters=change(event.parameters)))


def first(**fields: object) -> Lie:
    return parameters(lambda entries: (entries[0]._replace(**fields), *entries[1:]))


def samples(change: Callable[[list[int], list[int]], None]) -> Lie:
    """Change starts and lengths of the first chunk of forward."""

    def altering(event: Sampled) -> Sampled:
        started, elapsed = list(event.started_ns), list(event.elapsed_ns)
        change(started, elapsed)
        return event._replace(started_ns=tuple(started), elapsed_ns=tuple(elapsed))

    return alter_event(Sampled, altering, "forward")


def swap_first(started: list[int], elapsed: list[int]) -> None:
    started[0], started[1] = started[1], started[0]


def lengthen_first(started: list[int], elapsed: list[int]) -> None:
    elapsed[0] = started[1] - started[0] + 10**6


def begin_early(started: list[int], elapsed: list[int]) -> None:
    started[0] -= 10**9


def end_late(started: list[int], elapsed: list[int]) -> None:
    elapsed[-1] += 10**12


def stop_the_clock(started: list[int], elapsed: list[int]) -> None:
    elapsed[0] = 0


def halve(started: list[int], elapsed: list[int]) -> None:
    elapsed[:] = [length // 2 for length in elapsed]


def timed(name: str, factor: float) -> Lie:
    return alter_event(
        Timed, lambda event: event._replace(**{name: getattr(event, name) * factor}), "gradient"
    )


def later(kind: type, by_ns: int, phase: str = "") -> Lie:
    return alter_event(kind, lambda event: event._replace(at_ns=event.at_ns + by_ns), phase)


UNPROVEN = {
    "an error that is NaN": first(error=NAN),
    "an error that is negative": first(error=-1.0),
    "an error above the tolerance": first(error=2e-3),
    "no parameters": parameters(lambda entries: ()),
    "a parameter less": parameters(lambda entries: entries[1:]),
    "a parameter twice": parameters(lambda entries: (*entries, entries[0])),
    "a parameter of another name": first(name="conv9.weight"),
    "a parameter of another shape": first(shape=(1,)),
    "a reference without a norm": first(reference_norm=NAN),
    "a loss error that is NaN": replace_fields(Verified, loss_error=NAN),
    "a loss error above the tolerance": replace_fields(Verified, loss_error=1e-3),
    "a loss that is infinite": replace_fields(Verified, loss=float("inf")),
}

CONTRADICTIONS = {
    "a worst error that none has": (
        replace_fields(Verified, gradient_error=1e-4),
        "contradicts its parameters",
    ),
    "a proof twice": (repeat_event(Verified), "`verified` came instead of `phase warmup`"),
    "no proof": (remove_events(Verified), "`phase warmup` came instead of `verified`"),
    "no first call": (
        remove_events(FirstCall, "gradient"),
        "`first_call of forward` came instead of `first_call of gradient`",
    ),
    "no warm-up": (
        remove_events(Phase, "warmup"),
        "`phase forward` came instead of `phase warmup`",
    ),
    "a phase twice": (
        repeat_event(Phase, "forward"),
        "`phase forward` came instead of `sampled of forward`",
    ),
    "phases out of order": (
        swap_events(Phase, "forward", Phase, "gradient"),
        "`phase gradient` came instead of `phase forward`",
    ),
    "no time of forward": (
        remove_events(Timed, "forward"),
        "`phase prove` came instead of `timed of forward`",
    ),
    "no time of gradient": (
        remove_events(Timed, "gradient"),
        "`phase prove` came instead of `timed of gradient`",
    ),
    "no sample": (
        remove_events(Sampled, "gradient"),
        "`timed of gradient` came instead of `sampled of gradient`",
    ),
    "a phase that is not proved": (
        remove_events(Phase, "prove"),
        "`checked of forward` came instead of `phase prove`",
    ),
    "a check that was left out": (
        remove_events(Checked, "gradient"),
        "it finished without the check different_values of gradient",
    ),
    "a check twice": (repeat_event(Checked), "different_values of forward is a duplicate or not"),
    "a check of the agent": (
        replace_fields(Checked, name="clocked_by_agent"),
        "clocked_by_agent of forward is a duplicate or not a worker's check",
    ),
    "a check that failed": (
        replace_fields(Checked, outcome="failed"),
        "it finished although different_values of forward failed",
    ),
    "no hello": (remove_events(Hello), "`phase import` came instead of `hello`"),
    "another version": (replace_fields(Hello, protocol=0), "its version is 0, not"),
    "samples out of order": (samples(swap_first), "of forward began before"),
    "samples that overlap": (samples(lengthen_first), "sample 1 of forward began before the end"),
    "samples before their phase": (samples(begin_early), "sample 0 of forward began before the ph"),
    "samples after the next phase": (samples(end_late), "`sampled` is 9.8e+05 ms after its"),
    "a sample of no time": (samples(stop_the_clock), "sample 0 of forward took no time"),
    "a chunk of no samples": (
        replace_fields(Sampled, started_ns=(), elapsed_ns=()),
        "a chunk of forward",
    ),
    "a chunk that was left out": (
        replace_fields(Sampled, first_index=3),
        "a chunk of forward begins with sample 3 after 0 samples",
    ),
    "a median of other samples": (samples(halve), "median_ns of `timed` of forward is"),
    "another median": (timed("median_ns", 0.5), "median_ns of `timed` of gradient is"),
    "a narrower interval below": (timed("low_ns", 1.001), "low_ns of `timed` of gradient is"),
    "a narrower interval above": (timed("high_ns", 0.999), "high_ns of `timed` of gradient is"),
    "more samples": (timed("samples", 2), "samples of `timed` of gradient is"),
    "more calls": (timed("calls", 2), "calls of `timed` of gradient is"),
    "more independent samples": (timed("worth", 2), "worth of `timed` of gradient is"),
    "stable, or not": (
        alter_event(Timed, lambda event: event._replace(stable=not event.stable)),
        "stable of `timed` of forward is",
    ),
    "a warm-up without end": (replace_fields(Timed, warmup_samples=2**40), "forward has 10995"),
    "another doubt": (replace_fields(Timed, doubt="none"), "doubt of `timed` of forward is 'none'"),
    "another reason to stop": (
        replace_fields(Timed, stop_reason="bored"),
        "stop_reason of `timed` of forward is 'bored'",
    ),
    "a clock that runs backwards": (later(Phase, -(10**9), "build"), "its clock ran backwards"),
    "a clock that runs ahead": (later(Finished, 10**9), "its clock is not the node's: `finished`"),
    "a start before it was started": (later(Hello, -(10**12)), "its clock ran backwards: `hello`"),
    "an import longer than it took": (
        replace_fields(Imported, import_ns=10**12),
        "import_ns of `imported` is 1e+06 ms, but",
    ),
    "a build longer than it took": (
        replace_fields(Built, build_ns=10**12),
        "build_ns of `built` is 1e+06 ms, but",
    ),
    "a transfer longer than the build": (
        alter_event(Built, lambda event: event._replace(transfer_ns=event.build_ns + 1)),
        "transfer_ns of `built` exceeds build_ns",
    ),
    "a first call longer than it took": (
        replace_fields(FirstCall, elapsed_ns=10**12),
        "elapsed_ns of `first_call` is 1e+06 ms, but",
    ),
}


def test_an_honest_session_is_accepted_unchanged(honest: Any) -> None:
    validated = validate_lie(honest, lambda arrivals: arrivals)
    assert validated.events == tuple(one.event for one in honest.arrivals)
    assert isinstance(validated.events[-1], Finished)
    assert [check.phase for check in validated.checks] == ["forward", "gradient"]


@pytest.mark.parametrize("kind", UNPROVEN)
def test_an_insufficient_verification_disagrees(honest: Any, kind: str) -> None:
    events = validate_lie(honest, UNPROVEN[kind]).events
    assert isinstance(events[-1], Failed)
    assert events[-1].status == "disagreed"
    assert events[-1].reason.startswith("its proof is invalid: ")
    assert not any(isinstance(event, Timed | Verified | Finished) for event in events)


@pytest.mark.parametrize("kind", CONTRADICTIONS)
def test_a_contradiction_is_named_and_discarded(honest: Any, kind: str) -> None:
    lie, words = CONTRADICTIONS[kind]
    (failed,) = validate_lie(honest, lie).events
    assert isinstance(failed, Failed)
    assert failed.status == "crashed"
    assert failed.reason.startswith("the worker broke the protocol: ")
    assert words in failed.reason


def test_every_prefix_of_an_honest_session_is_accepted(honest: Any) -> None:
    for count in range(len(honest.arrivals)):
        beginning = honest.arrivals[:count]
        events = validate(beginning, honest.request, honest.begun_ns).events
        assert events == tuple(one.event for one in beginning)


def test_a_failure_after_any_event_is_accepted(honest: Any) -> None:
    for count in range(1, len(honest.arrivals)):
        *beginning, last = honest.arrivals[:count]
        failed = Failed("unsupported", "no LRN", "", last.by_ns)
        arrivals = [*beginning, last._replace(event=failed)]
        events = validate(arrivals, honest.request, honest.begun_ns).events
        assert events[-1] == failed


def test_a_failure_reports_errors_of_the_models_own_parameters_only(honest: Any) -> None:
    known = honest.arrivals[find_index(list(honest.arrivals), Verified)].event.parameters
    for kept, parameters in (
        (2, known),
        (1, (*known, known[0])),
        (1, (known[0]._replace(name="x"),)),
        (1, (known[0]._replace(shape=(1, 1)),)),
    ):
        failed = Failed("disagreed", "off", "", honest.arrivals[0].by_ns, parameters)
        arrivals = [honest.arrivals[0], honest.arrivals[0]._replace(event=failed)]
        events = validate(arrivals, honest.request, honest.begun_ns).events
        assert len(events) == kept
        assert (events[-1] == failed) == (kept == 2)


def test_a_tolerance_is_the_agents_own_whatever_the_worker_sends(honest: Any) -> None:
    def widen(event: Verified) -> Verified:
        return event._replace(parameters=tuple(e._replace(allowed=1.0) for e in event.parameters))

    found = validate_lie(honest, alter_event(Verified, widen))
    (verified,) = [event for event in found.events if isinstance(event, Verified)]
    assert {entry.allowed for entry in verified.parameters} == {GRADIENT_TOLERANCE}
