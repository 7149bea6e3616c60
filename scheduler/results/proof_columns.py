"""Columns of `tasks` with the outcomes of the checks of the timed phases. Pure."""

from collections.abc import Sequence

from velodrome.adapters.protocol import CHECKS, PASSED, Checked
from velodrome.agents.measurement import Measurement

Row = dict[str, object]


def proof_columns(measurement: Measurement) -> Row:
    """Build the columns. Empty lists if no check ran; null means an earlier version."""
    checks = measurement.checks
    return {
        "proved": list(list_proved_checks(checks)),
        "unproved": [_unproved(one) for one in checks if one.outcome != PASSED],
        "checks": [_struct(one) for one in checks],
    }


def list_proved_checks(checks: Sequence[Checked]) -> tuple[str, ...]:
    """Return the checks that passed in every checked phase, in the order of CHECKS."""
    phases = {one.phase for one in checks}
    passed = {(one.name, one.phase) for one in checks if one.outcome == PASSED}
    others = {one.name for one in checks if one.outcome != PASSED}
    return tuple(
        name
        for name in CHECKS
        if name not in others and phases and all((name, phase) in passed for phase in phases)
    )


def _unproved(one: Checked) -> str:
    """Format as `name phase: outcome: reason`."""
    return ": ".join(filter(None, (f"{one.name} {one.phase}", one.outcome, one.reason)))


def _struct(one: Checked) -> Row:
    figures = [{"name": figure.name, "value": _known(figure.value)} for figure in one.figures]
    return {
        "name": one.name,
        "phase": one.phase,
        "outcome": one.outcome,
        "reason": one.reason,
        "figures": figures,
    }


def _known(value: float) -> float | None:
    """Map NaN to None."""
    return value if value == value else None
