"""Runs the checks of a timed phase in their order, and reports each as an event."""

from typing import Any, Callable, Sequence, Tuple

from velodrome.adapters.proof.agreement import Disagreed
from velodrome.adapters.proof.clock_comparison import compare_clocks
from velodrome.adapters.proof.double_work import check_double_work
from velodrome.adapters.proof.input_variety import check_input_variety
from velodrome.adapters.proof.last_results import check_last_results
from velodrome.adapters.proof.loading_checks import (
    check_double_loading,
    check_fed_parameter,
    check_loading_rates,
    check_record_variety,
    check_unseen_records,
)
from velodrome.adapters.proof.physical_limits import check_physical_limits
from velodrome.adapters.proof.timed_phase import CheckFinding, ProofContext, TimedPhase
from velodrome.adapters.proof.unseen_inputs import check_changed_parameter, check_unseen_inputs
from velodrome.adapters.protocol import FAILED, LOADING_PHASES, Checked, Figure, monotonic_ns
from velodrome.adapters.worker.call_timing import disable_gc

Send = Callable[[Any], None]


def check_phase(proof: ProofContext, phase: TimedPhase, send: Send) -> None:
    """Run the checks that directly follow a phase's timing. Disagreed after all if one failed."""
    with disable_gc():
        reads = phase.name in LOADING_PHASES
        is_drained, is_checked = check_last_results(proof, phase)
        findings = (
            (
                "different_values",
                check_record_variety(proof) if reads else check_input_variety(proof),
            ),
            ("clocked_by_two", compare_clocks(phase)),
            ("possible", (check_loading_rates if reads else check_physical_limits)(proof, phase)),
            ("drained", is_drained),
            ("timed_is_checked", is_checked),
            (
                "twice_the_work",
                (check_double_loading if reads else check_double_work)(proof, phase),
            ),
        )
    _send_findings(phase.name, findings, send)


def check_all(proof: ProofContext, phases: Sequence[TimedPhase], send: Send) -> None:
    """Run the checks that change batches and parameters. Disagreed if one failed."""
    loading = [phase for phase in phases if phase.name in LOADING_PHASES]
    others = [phase for phase in phases if phase.name not in LOADING_PHASES]
    with disable_gc():
        unseen = check_unseen_inputs(proof, others)
        following = check_changed_parameter(proof, others)
        unseen.update(check_unseen_records(proof, loading))
        following.update(check_fed_parameter(proof, loading))
    for phase in phases:
        findings = (
            ("not_seen_before", unseen[phase.name]),
            ("follows_parameters", following[phase.name]),
        )
        _send_findings(phase.name, findings, send)


def _send_findings(phase: str, findings: Sequence[Tuple[str, CheckFinding]], send: Send) -> None:
    for name, finding in findings:
        figures = tuple(Figure(figure, float(value)) for figure, value in finding.figures)
        send(Checked(name, phase, finding.outcome, figures, finding.reason, monotonic_ns()))
    for name, finding in findings:
        if finding.outcome == FAILED:
            raise Disagreed("{} of {} failed: {}".format(name, phase, finding.reason))
