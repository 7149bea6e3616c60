"""The agent's clock beside the worker's: samples must fill the time that passed outside."""

import pytest

from velodrome.adapters.protocol import Phase, Sampled, Timed
from velodrome.agents.validation.agent_clock import check_agent_clock
from velodrome.agents.validation.arrivals import Arrival, ProtocolViolation
from velodrome.agents.validation.samples import SampledPhase

S = 10**9


def phase(
    samples_s: float, began: tuple[float, float] = (0, 0), ended: tuple[float, float] = (10, 10)
) -> SampledPhase:
    """Make a phase of ten samples whose start and end arrived between these seconds."""
    length_ns = int(samples_s * S / 10)
    started_ns = tuple(range(0, 10 * length_ns, length_ns))
    sampled = Sampled("forward", 0, 1, started_ns, (length_ns,) * 10)
    timed = Timed("forward", length_ns, length_ns, length_ns, 10, 1, 1, "target", stable=True)
    return SampledPhase(
        "forward",
        Arrival(Phase("forward", 0), int(began[0] * S), int(began[1] * S)),
        (Arrival(sampled, int(ended[0] * S), int(ended[1] * S)),),
        Arrival(timed, int(ended[0] * S), int(ended[1] * S)),
    )


def test_samples_that_fill_the_phase_pass_with_their_share() -> None:
    checked = check_agent_clock(phase(9.0))
    assert checked is not None
    assert (checked.name, checked.outcome) == ("clocked_by_agent", "passed")
    assert dict(checked.figures) == {"window_s": 10.0, "samples_s": 9.0, "share": 0.9}


def test_a_clock_that_reports_a_quarter_of_the_time_fails() -> None:
    checked = check_agent_clock(phase(2.5))
    assert checked is not None
    assert checked.outcome == "failed"
    assert "samples of forward last 2.5 s, but 10 s passed" in checked.reason


@pytest.mark.parametrize(("samples_s", "outcome"), [(8.0, "cannot_tell"), (2.0, "failed")])
def test_processes_that_speak_between_samples_may_take_longer(
    samples_s: float, outcome: str
) -> None:
    checked = check_agent_clock(phase(samples_s, ended=(40, 40)), devices=2)
    assert checked is not None
    assert checked.outcome == outcome


def test_a_slow_start_of_a_phase_does_not_excuse_later_gaps() -> None:
    slow, length_ns = phase(0.5), S // 8
    chunks = tuple(
        Arrival(Sampled("forward", i, 1, (i * S // 2,), (length_ns,)), i * S // 2, i * S // 2)
        for i in range(3)
    )
    ended = Arrival(slow.ended.event if slow.ended else None, S + 1, S + 1)
    checked = check_agent_clock(SampledPhase("forward", slow.began, chunks, ended))
    assert checked is not None
    assert checked.outcome == "failed"
    assert "last 0.25 s, but 1 s passed" in checked.reason


def test_samples_longer_than_the_time_that_passed_contradict_the_agents_clock() -> None:
    with pytest.raises(ProtocolViolation, match=r"last 11 s, but the agent's clock allows 10 s"):
        check_agent_clock(phase(11.0))


def test_a_busy_agent_cannot_tell() -> None:
    late_to_hear_of_the_beginning = check_agent_clock(phase(2.5, began=(0, 9)))
    late_to_hear_of_the_end = check_agent_clock(phase(2.5, ended=(3, 10)))
    assert late_to_hear_of_the_beginning is not None
    assert late_to_hear_of_the_beginning.outcome == "cannot_tell"
    assert late_to_hear_of_the_end is not None
    assert late_to_hear_of_the_end.outcome == "cannot_tell"


def test_a_phase_that_is_too_short_cannot_tell() -> None:
    checked = check_agent_clock(phase(0.01, ended=(1.9, 1.9)))
    assert checked is not None
    assert checked.outcome == "cannot_tell"


def test_an_unfinished_phase_is_not_judged() -> None:
    unfinished = phase(9.0)
    assert (
        check_agent_clock(SampledPhase(unfinished.name, unfinished.began, unfinished.chunks, None))
        is None
    )
