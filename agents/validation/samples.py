"""Checks of a timed phase's samples and of the statistics reported for them."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NoReturn

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
        return (arrival.event for arrival in self.chunks if isinstance(arrival.event, Sampled))

    @property
    def elapsed_ns(self) -> list[int]:
        return [length for chunk in self.sampled for length in chunk.elapsed_ns]


def timed_phases(arrivals: Sequence[Arrival], names: Sequence[str]) -> tuple[SampledPhase, ...]:
    """Group ordered events by timed phase."""
    figures = []
    for name in names:
        own = [arrival for arrival in arrivals if _belongs_to(arrival.event, name)]
        if own:
            ended = own[-1] if isinstance(own[-1].event, Timed) else None
            chunks = tuple(arrival for arrival in own if isinstance(arrival.event, Sampled))
            figures.append(SampledPhase(name, own[0], chunks, ended))
    return tuple(figures)


def require_times(phase: SampledPhase, timing: Timing) -> None:
    """Raise ProtocolViolation if samples are out of order or contradict their statistics."""
    _require_samples(phase)
    timed = phase.ended.event if phase.ended else None
    if isinstance(timed, Timed):
        _require_plan(phase, timing)
        _require_summary(phase, timed, timing)


def _belongs_to(event: object, name: str) -> bool:
    if isinstance(event, Phase):
        return event.name == name
    return isinstance(event, Sampled | Timed) and event.phase == name


def _require_samples(phase: SampledPhase) -> None:
    """Check that samples are in order, do not overlap and do not precede their phase."""
    assert isinstance(phase.began.event, Phase)
    free_ns = phase.began.event.at_ns - ROUNDING_NS
    count, calls = 0, 0
    for chunk in phase.sampled:
        if chunk.first_index != count or not chunk.elapsed_ns:
            order = f"begins with sample {chunk.first_index} after {count} samples"
            raise ProtocolViolation(f"a chunk of {phase.name} {order}")
        if calls not in (0, chunk.calls):
            raise ProtocolViolation(
                f"samples of {phase.name} have both {calls} and {chunk.calls} calls"
            )
        calls = chunk.calls
        pairs = zip(chunk.started_ns, chunk.elapsed_ns, strict=True)
        for index, (started_ns, elapsed_ns) in enumerate(pairs, count):
            if started_ns < free_ns:
                before = "the end of the previous one" if index else "the phase"
                raise ProtocolViolation(f"sample {index} of {phase.name} began before {before}")
            if elapsed_ns == 0:
                raise ProtocolViolation(f"sample {index} of {phase.name} took no time")
            free_ns = end_ns(started_ns, elapsed_ns) - ROUNDING_NS
        count += len(chunk.elapsed_ns)


def _require_plan(phase: SampledPhase, timing: Timing) -> None:
    """Check that sampling stopped at max_seconds, once it had the minimum of samples."""
    elapsed_ns = phase.elapsed_ns
    before_last_s = sum(elapsed_ns[:-1]) / SECOND_NS
    if len(elapsed_ns) > MIN_SAMPLES and before_last_s > timing.max_seconds:
        limit = f"max_seconds is {timing.max_seconds:g}"
        raise ProtocolViolation(
            f"sampling of {phase.name} went on after {before_last_s:.3g} s: {limit}"
        )


def _require_summary(phase: SampledPhase, timed: Timed, timing: Timing) -> None:
    """Recompute the statistics with the worker's own functions."""
    if timed.warmup_samples >= SMALL_LIMIT:
        raise ProtocolViolation(f"{phase.name} has {timed.warmup_samples} warm-up samples")
    elapsed_ns = phase.elapsed_ns
    calls = next(phase.sampled).calls
    judgement = judge(elapsed_ns, timing.target)
    figures = {
        "samples": (timed.samples, len(elapsed_ns)),
        "calls": (timed.calls, calls),
        "median_ns": (timed.median_ns, judgement.interval.median / calls),
        "low_ns": (timed.low_ns, judgement.interval.low / calls),
        "high_ns": (timed.high_ns, judgement.interval.high / calls),
        "worth": (timed.worth, len(elapsed_ns) / judgement.interval.inflation),
        "drift": (timed.drift, judgement.drift),
        "stable": (timed.stable, judgement.stable),
    }
    for name, (value, expected) in figures.items():
        if not math.isclose(value, expected, rel_tol=AGREEMENT, abs_tol=AGREEMENT):
            _raise_difference(phase.name, name, f"{value:.6g}", f"{expected:.6g}")
    texts = {
        "doubt": (timed.doubt, judgement.instability),
        "stop_reason": (timed.stop_reason, find_stop_reason(elapsed_ns, timing)),
    }
    for name, (text, expected_text) in texts.items():
        if text != expected_text:
            _raise_difference(phase.name, name, repr(text)[:40], repr(expected_text))


def _raise_difference(phase: str, name: str, value: str, expected: str) -> NoReturn:
    raise ProtocolViolation(f"{name} of `timed` of {phase} is {value}, its samples give {expected}")
