"""The agent's clock as a second witness: samples must fill the time that passed outside."""

from collections.abc import Sequence
from typing import NamedTuple

from velodrome.adapters.protocol import CANNOT_TELL, FAILED, PASSED, Checked, Figure
from velodrome.agents.credibility.heard import APART_NS, Contradiction, Heard
from velodrome.agents.credibility.times import DEVICE_CLOCK, TimedPhase

NAME = "clocked_by_agent"
# Of the time that passed, that samples must fill. Measured with numpy, torch, jax and tensorflow in
# sweeps/quick.yaml's second, idle and beside three busy loops on two cores: 0.73 to 0.99.
LEAST_SHARE = 0.5
# What there may be besides, however little time passed: in a whole phase the full garbage
# collection with which it begins (up to 0.33 s, measured as above), between chunks of samples the
# statistics of those so far.
BESIDES_PHASE_NS = 1_000_000_000
BESIDES_CHUNKS_NS = 200_000_000


class Window(NamedTuple):
    """A stretch of a phase: how long it surely lasted by the agent's clock, and its samples."""

    passed_ns: int
    samples_ns: int
    besides_ns: int

    @property
    def required_ns(self) -> float:
        """How long its samples must be; 0 or less: any will do."""
        return LEAST_SHARE * self.passed_ns - self.besides_ns


def witness(phase: TimedPhase) -> Checked | None:
    """None where the phase did not end. Contradiction if its samples are longer than the phase.

    The phase lasted at least from the arrival of its beginning to when the pipe was last empty
    before its end, at most from when the pipe was last empty before its beginning to the arrival
    of its end. So an agent that is kept busy can tell less, and accuses nobody.
    """
    if phase.ended is None:
        return None
    most_ns = phase.ended.by_ns - phase.began.after_ns
    samples_ns = sum(phase.elapsed_ns)
    if samples_ns * (1 - DEVICE_CLOCK) > most_ns + APART_NS:
        told = f"{samples_ns / 1e9:.3g} s, within {most_ns / 1e9:.3g} s by the agent's clock"
        raise Contradiction(f"samples of {phase.name} last {told}")
    windows = (_whole(phase, phase.ended), _between_chunks(phase))
    whole = windows[0]
    figures = (
        Figure("window_s", whole.passed_ns / 1e9),
        Figure("samples_s", whole.samples_ns / 1e9),
        Figure("share", whole.samples_ns / whole.passed_ns if whole.passed_ns else 1.0),
    )
    outcome, reason = _judged(phase.name, windows)
    return Checked(NAME, phase.name, outcome, figures, reason, phase.ended.by_ns)


def _whole(phase: TimedPhase, ended: Heard) -> Window:
    passed_ns = max(ended.after_ns - phase.began.by_ns, 0)
    return Window(passed_ns, sum(phase.elapsed_ns), BESIDES_PHASE_NS)


def _between_chunks(phase: TimedPhase) -> Window:
    """From the first chunk of samples to the last: all but what a phase begins and ends with."""
    if len(phase.chunks) < 2:
        return Window(0, 0, BESIDES_CHUNKS_NS)
    passed_ns = max(phase.chunks[-1].after_ns - phase.chunks[0].by_ns, 0)
    samples_ns = sum(sum(chunk.elapsed_ns) for chunk in tuple(phase.sampled)[1:])
    return Window(passed_ns, samples_ns, BESIDES_CHUNKS_NS)


def _judged(name: str, windows: Sequence[Window]) -> tuple[str, str]:
    """Outcome and reason."""
    for one in windows:
        if one.samples_ns < one.required_ns:
            return FAILED, (
                f"samples of {name} last {one.samples_ns / 1e9:.3g} s of "
                f"{one.passed_ns / 1e9:.3g} s that passed by the agent's clock, "
                f"at least {one.required_ns / 1e9:.3g} s were expected"
            )
    if all(one.required_ns <= 0 for one in windows):
        return CANNOT_TELL, f"{name} took {windows[0].passed_ns / 1e9:.2g} s, too short to tell"
    return PASSED, ""
