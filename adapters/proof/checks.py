"""The order in which a phase that was timed is checked, and what is told of it."""

from typing import Any, Callable, Sequence, Tuple

from velodrome.adapters.proof.agreement import Disagreed
from velodrome.adapters.proof.clock_comparison import clocked_by_two
from velodrome.adapters.proof.double_work import twice_the_work
from velodrome.adapters.proof.input_variety import different_values
from velodrome.adapters.proof.last_results import last_results
from velodrome.adapters.proof.physical_limits import possible
from velodrome.adapters.proof.timed_phase import Finding, Phase, Proof
from velodrome.adapters.proof.unseen_inputs import follows_parameters, not_seen_before
from velodrome.adapters.protocol import FAILED, Checked, Figure, monotonic_ns
from velodrome.adapters.worker.call_timing import disable_gc

Send = Callable[[Any], None]


def check_phase(proof: Proof, phase: Phase, send: Send) -> None:
    """What can be told right after it was timed. Disagreed, once all are sent, if one failed."""
    with disable_gc():
        is_drained, is_checked = last_results(proof, phase)
        found = (
            ("different_values", different_values(proof)),
            ("clocked_by_two", clocked_by_two(phase)),
            ("possible", possible(proof, phase)),
            ("drained", is_drained),
            ("timed_is_checked", is_checked),
            ("twice_the_work", twice_the_work(proof, phase)),
        )
    _tell(phase.name, found, send)


def check_all(proof: Proof, phases: Sequence[Phase], send: Send) -> None:
    """What changes batches and parameters, once all is timed. Disagreed if one failed."""
    with disable_gc():
        unseen = not_seen_before(proof, phases)
        following = follows_parameters(proof, phases)
    for phase in phases:
        found = (
            ("not_seen_before", unseen[phase.name]),
            ("follows_parameters", following[phase.name]),
        )
        _tell(phase.name, found, send)


def _tell(phase: str, found: Sequence[Tuple[str, Finding]], send: Send) -> None:
    for name, one in found:
        figures = tuple(Figure(what, float(value)) for what, value in one.figures)
        send(Checked(name, phase, one.outcome, figures, one.reason, monotonic_ns()))
    for name, one in found:
        if one.outcome == FAILED:
            raise Disagreed("{} of {} failed: {}".format(name, phase, one.reason))
