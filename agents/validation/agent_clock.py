"""The check `clocked_by_agent`: samples must account for the time that the agent measured."""

from collections.abc import Sequence
from typing import NamedTuple

from velodrome.adapters.protocol import CANNOT_TELL, FAILED, PASSED, Checked, Figure
from velodrome.agents.validation.arrivals import APART_NS, Arrival, ProtocolViolation, end_ns
from velodrome.agents.validation.samples import SampledPhase

NAME = "clocked_by_agent"
# The share of the elapsed time that samples must account for. Measured with numpy, torch, jax and
# tensorflow, max_seconds 1 as in sweeps/quick.yaml, idle and with three busy loops on two cores:
# 0.73 to 0.99.
LEAST_SHARE = 0.5
# Processes that share each batch speak between samples, for milliseconds on a busy machine: 0.27
# was seen at a load of 10. From this share on the check cannot tell.
LEAST_SHARE_OF_GROUP = 0.1
# Time that need not be accounted for. In a whole phase: the garbage collection at its start, 0.33 s
# as measured above, 1 s at a load of 15. Between chunks of samples: the statistics so far.
BESIDES_PHASE_NS = 1_000_000_000
BESIDES_CHUNKS_NS = 200_000_000


class ClockBounds(NamedTuple):
    """A part of a phase: its least and most duration by the agent's clock, and its samples' sum."""

    passed_ns: int
    most_ns: int
    samples_ns: int
    besides_ns: int

    @property
    def required_ns(self) -> float:
        """The least valid sum of samples; 0 or less: too short to check."""
        return self.least_ns(LEAST_SHARE)

    def least_ns(self, share: float) -> float:
        return share * self.passed_ns - self.besides_ns


def check_agent_clock(phase: SampledPhase, devices: int = 1) -> Checked | None:
    """Check one phase; None if it did not end. ProtocolViolation if its samples are too long.

    devices: of the task. The least duration of a phase is from the arrival of its first event to
    the last time the pipe was empty before its last event; the most, from the last time the pipe
    was empty before its first event to the arrival of its last. A busy agent widens the two, so
    that it detects less and raises no false alarm.
    """
    if phase.ended is None:
        return None
    most_ns = phase.ended.by_ns - phase.began.after_ns
    samples_ns = sum(phase.elapsed_ns)
    if end_ns(0, samples_ns) > most_ns + APART_NS:
        durations = f"{samples_ns / 1e9:.3g} s, but the agent's clock allows {most_ns / 1e9:.3g} s"
        raise ProtocolViolation(f"samples of {phase.name} last {durations}")
    windows = (_whole(phase, phase.ended), _between_chunks(phase))
    whole = windows[0]
    figures = (
        Figure("window_s", whole.passed_ns / 1e9),
        Figure("samples_s", whole.samples_ns / 1e9),
        Figure("share", whole.samples_ns / whole.passed_ns if whole.passed_ns else 1.0),
    )
    outcome, reason = _judge(phase.name, windows, devices)
    return Checked(NAME, phase.name, outcome, figures, reason, phase.ended.by_ns)


def _whole(phase: SampledPhase, ended: Arrival) -> ClockBounds:
    passed_ns = max(ended.after_ns - phase.began.by_ns, 0)
    most_ns = ended.by_ns - phase.began.after_ns
    return ClockBounds(passed_ns, most_ns, sum(phase.elapsed_ns), BESIDES_PHASE_NS)


def _between_chunks(phase: SampledPhase) -> ClockBounds:
    """From the first chunk of samples to the last, without the start and the end of the phase."""
    if len(phase.chunks) < 2:
        return ClockBounds(0, 0, 0, BESIDES_CHUNKS_NS)
    passed_ns = max(phase.chunks[-1].after_ns - phase.chunks[0].by_ns, 0)
    samples_ns = sum(sum(chunk.elapsed_ns) for chunk in tuple(phase.sampled)[1:])
    most_ns = phase.chunks[-1].by_ns - phase.chunks[0].after_ns
    return ClockBounds(passed_ns, most_ns, samples_ns, BESIDES_CHUNKS_NS)


def _judge(name: str, windows: Sequence[ClockBounds], devices: int) -> tuple[str, str]:
    """Return outcome and reason."""
    short = [window for window in windows if window.samples_ns < window.required_ns]
    if short:
        least = LEAST_SHARE if devices == 1 else LEAST_SHARE_OF_GROUP
        failed = [window for window in short if window.samples_ns < window.least_ns(least)]
        window = (failed or short)[0]
        return FAILED if failed else CANNOT_TELL, (
            f"samples of {name} last {window.samples_ns / 1e9:.3g} s, but "
            f"{window.passed_ns / 1e9:.3g} s passed by the agent's clock: "
            f"at least {window.required_ns / 1e9:.3g} s are expected"
        )
    if any(0 < LEAST_SHARE * window.most_ns <= window.samples_ns for window in windows):
        return PASSED, ""
    return CANNOT_TELL, f"{name} took {windows[0].passed_ns / 1e9:.2g} s, too short to check"
