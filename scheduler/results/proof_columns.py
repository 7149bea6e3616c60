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
        "unproved": [_format_unproved(check) for check in checks if check.outcome != PASSED],
        "checks": [_build_struct(check) for check in checks],
    }


def list_proved_checks(checks: Sequence[Checked]) -> tuple[str, ...]:
    """Return the checks that passed in every checked phase, in the order of CHECKS."""
    phases = {check.phase for check in checks}
    passed = {(check.name, check.phase) for check in checks if check.outcome == PASSED}
    others = {check.name for check in checks if check.outcome != PASSED}
    return tuple(
        name
        for name in CHECKS
        if name not in others and phases and all((name, phase) in passed for phase in phases)
    )


def _format_unproved(check: Checked) -> str:
    """Format as `name phase: outcome: reason`."""
    return ": ".join(filter(None, (f"{check.name} {check.phase}", check.outcome, check.reason)))


def _build_struct(check: Checked) -> Row:
    figures = [
        {"name": figure.name, "value": _replace_nan(figure.value)} for figure in check.figures
    ]
    return {
        "name": check.name,
        "phase": check.phase,
        "outcome": check.outcome,
        "reason": check.reason,
        "figures": figures,
    }


def _replace_nan(value: float) -> float | None:
    """Map NaN to None."""
    return value if value == value else None
