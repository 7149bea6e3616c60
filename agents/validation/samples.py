"""Checks of a timed phase's samples and of the statistics reported for them."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from velodrome.adapters.protocol import SMALL_LIMIT, Phase, Sampled, Timed, Timing
from velodrome.adapters.timing.stopping import MIN_SAMPLES, SECOND_NS, find_stop_reason, judge
from velodrome.agents.validation.arrivals import ROUNDING_NS, Arrival, ProtocolViolation, end_ns

AGREEMENT = 1e-9  # relative: the same operations on the same numbers, in another process


@dataclass(frozen=True)
class SampledPhase:
    """The events of one timed phase. ended: its `timed`; None: not yet."""

    name: str
    began: Arrival
    chunks: tuple[Arrival, ...]
    ended: Arrival | None

    @property
    def sampled(self) -> Iterator[Sampled]:
        return (one.event for one in self.chunks if isinstance(one.event, Sampled))

    @property
    def elapsed_ns(self) -> list[int]:
        return [length for chunk in self.sampled for length in chunk.elapsed_ns]


def timed_phases(arrivals: Sequence[Arrival], names: Sequence[str]) -> tuple[SampledPhase, ...]:
    """Group ordered events by timed phase."""
    found = []
    for name in names:
        own = [one for one in arrivals if _is_of(one.event, name)]
        if own:
            ended = own[-1] if isinstance(own[-1].event, Timed) else None
            chunks = tuple(one for one in own if isinstance(one.event, Sampled))
            found.append(SampledPhase(name, own[0], chunks, ended))
    return tuple(found)


def require_times(phase: SampledPhase, timing: Timing) -> None:
    """Raise ProtocolViolation if samples are out of order or contradict their statistics."""
    _require_samples(phase)
    told = phase.ended.event if phase.ended else None
    if isinstance(told, Timed):
        _require_plan(phase, timing)
        _require_summary(phase, told, timing)


def _is_of(event: object, name: str) -> bool:
    if isinstance(event, Phase):
        return event.name == name
    return isinstance(event, Sampled | Timed) and event.phase == name


def _require_samples(phase: SampledPhase) -> None:
    """In order, without overlap, none before the phase began."""
    assert isinstance(phase.began.event, Phase)
    free_ns = phase.began.event.at_ns - ROUNDING_NS
    count, calls = 0, 0
    for chunk in phase.sampled:
        if chunk.first_index != count or not chunk.elapsed_ns:
            told = f"{chunk.first_index} follows {count} samples"
            raise ProtocolViolation(f"a chunk of {phase.name} that begins with number {told}")
        if calls not in (0, chunk.calls):
            raise ProtocolViolation(
                f"samples of {phase.name} are of {calls} and of {chunk.calls} calls"
            )
        calls = chunk.calls
        pairs = zip(chunk.started_ns, chunk.elapsed_ns, strict=True)
        for index, (started_ns, elapsed_ns) in enumerate(pairs, count):
            if started_ns < free_ns:
                before = "the one before ended" if index else "the phase"
                raise ProtocolViolation(f"sample {index} of {phase.name} began before {before}")
            if elapsed_ns == 0:
                raise ProtocolViolation(f"sample {index} of {phase.name} took no time")
            free_ns = end_ns(started_ns, elapsed_ns) - ROUNDING_NS
        count += len(chunk.elapsed_ns)


def _require_plan(phase: SampledPhase, timing: Timing) -> None:
    """Sampling must stop at max_seconds, once it has the minimum number of samples."""
    elapsed_ns = phase.elapsed_ns
    before_last_s = sum(elapsed_ns[:-1]) / SECOND_NS
    if len(elapsed_ns) > MIN_SAMPLES and before_last_s > timing.max_seconds:
        told = f"{before_last_s:.3g} s and went on, {timing.max_seconds:g} s were asked"
        raise ProtocolViolation(f"{phase.name} was sampled for {told}")


def _require_summary(phase: SampledPhase, told: Timed, timing: Timing) -> None:
    """Recompute the statistics with the worker's own functions."""
    if told.warmup_samples >= SMALL_LIMIT:
        raise ProtocolViolation(f"{phase.name} was warmed up by {told.warmup_samples} samples")
    elapsed_ns = phase.elapsed_ns
    calls = next(phase.sampled).calls
    judged = judge(elapsed_ns, timing.target)
    found = {
        "samples": (told.samples, len(elapsed_ns)),
        "calls": (told.calls, calls),
        "median_ns": (told.median_ns, judged.interval.median / calls),
        "low_ns": (told.low_ns, judged.interval.low / calls),
        "high_ns": (told.high_ns, judged.interval.high / calls),
        "worth": (told.worth, len(elapsed_ns) / judged.interval.inflation),
        "drift": (told.drift, judged.drift),
        "stable": (told.stable, judged.stable),
    }
    for name, (said, true) in found.items():
        _require_same(phase.name, name, said, true)
    texts = {
        "doubt": (told.doubt, judged.doubt),
        "stop_reason": (told.stop_reason, find_stop_reason(elapsed_ns, timing)),
    }
    for name, (word, meant) in texts.items():
        if word != meant:
            raise ProtocolViolation(_differs(phase.name, name, repr(word)[:40], repr(meant)))


def _require_same(phase: str, name: str, said: float, true: float) -> None:
    if not math.isclose(said, true, rel_tol=AGREEMENT, abs_tol=AGREEMENT):
        raise ProtocolViolation(_differs(phase, name, f"{said:.6g}", f"{true:.6g}"))


def _differs(phase: str, name: str, said: str, true: str) -> str:
    return f"{name} of `timed` of {phase} is {said}, its samples make it {true}"
