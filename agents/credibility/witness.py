"""The agent's clock as a second witness: samples must fill the time that passed outside."""

from velodrome.adapters.protocol import CANNOT_TELL, FAILED, PASSED, Checked, Figure
from velodrome.agents.credibility.heard import ROUNDING_NS, Contradiction
from velodrome.agents.credibility.times import DEVICE_CLOCK, TimedPhase

NAME = "clocked_by_agent"
LEAST_SHARE = 0.5
# What a phase may cost besides its samples however short it is: a full garbage collection when
# it begins, and the statistics of the samples.
BESIDES_NS = 300_000_000


def witness(phase: TimedPhase) -> Checked | None:
    """None where the phase did not end. Contradiction if its samples are longer than the phase.

    The phase lasted at least from the arrival of its beginning to when the pipe was last empty
    before its end, at most from when the pipe was last empty before its beginning to the arrival
    of its end. So an agent that is kept busy can tell less, and accuses nobody.
    """
    if phase.ended is None:
        return None
    least_ns = phase.ended.after_ns - phase.began.by_ns
    most_ns = phase.ended.by_ns - phase.began.after_ns
    samples_ns = sum(phase.elapsed_ns)
    if samples_ns * (1 - DEVICE_CLOCK) > most_ns + ROUNDING_NS:
        told = f"{samples_ns / 1e9:.3g} s, within {most_ns / 1e9:.3g} s by the agent's clock"
        raise Contradiction(f"samples of {phase.name} last {told}")
    share = samples_ns / least_ns if least_ns > 0 else 1.0
    figures = (
        Figure("window_s", max(least_ns, 0) / 1e9),
        Figure("samples_s", samples_ns / 1e9),
        Figure("share", share),
    )
    outcome, reason = _judged(phase.name, least_ns, samples_ns)
    return Checked(NAME, phase.name, outcome, figures, reason, phase.ended.by_ns)


def _judged(name: str, window_ns: int, samples_ns: int) -> tuple[str, str]:
    """Outcome and reason."""
    required_ns = LEAST_SHARE * window_ns - BESIDES_NS
    if required_ns <= 0:
        return CANNOT_TELL, f"{name} took {window_ns / 1e9:.2g} s, too short to tell"
    if samples_ns >= required_ns:
        return PASSED, ""
    return FAILED, (
        f"samples of {name} last {samples_ns / 1e9:.3g} s of the {window_ns / 1e9:.3g} s "
        f"that passed by the agent's clock, at least {required_ns / 1e9:.3g} s were expected"
    )
