"""Attribution of a changed time to the machine or the framework, by canaries.

A canary is a small model in a fixed framework that ran just before and just after each task, on the
same cores or device. If the time changed by a ratio r and the canary by c, the machine explains the
share log c / log r of the change. A share above one half with confidence is `machine`, one below is
`framework`; if the canaries are too noisy, it is `unknown`.

The interval of c is Student's for two means of logarithms with one pooled variance (e.g. Snedecor
and Cochran, Statistical Methods, 8th ed., 6.8): both sides are the same short program.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

EXPLAINS = 0.5  # share of a change, in logarithms, from which on the machine is the source
CONFIDENCE = 0.95
FINEST = 0.005  # of one canary, relative: two closer values do not prove less noise
UNMOVED = 0.005  # relative: a smaller change is not attributed


class ChangeSource(StrEnum):
    """The cause to which a change is attributed."""

    MACHINE = "machine"
    FRAMEWORK = "framework"
    UNKNOWN = "unknown"


class CanaryRun(NamedTuple):
    """A run of a cell: its time and those of its canaries, in ns per call; None without one."""

    ns: float | None
    canary_model: str
    canaries_ns: tuple[float, ...]

    @property
    def readings(self) -> tuple[float, ...]:
        """Times of the canaries that a clock can have measured."""
        return tuple(ns for ns in self.canaries_ns if 0 < ns < math.inf)


@dataclass(frozen=True)
class Ratio:
    """A ratio, candidate over base, with the bounds of its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Attribution:
    """The attribution of a change. reason: one line. None: there is no such ratio."""

    cause: ChangeSource
    reason: str
    number: float | None = None  # candidate over base
    canary: Ratio | None = None


def attribute_change(
    base_runs: Sequence[CanaryRun], candidate_runs: Sequence[CanaryRun]
) -> Attribution:
    """Attribute the change of one cell's time; rows of `tasks`, then and now.

    Rows without a number are ignored, and rows without a canary if others have one. The time is of
    the gradient, or of the forward pass without one.
    """
    base, candidate = _select_timed(base_runs), _select_timed(candidate_runs)
    if not base or not candidate:
        return Attribution(ChangeSource.UNKNOWN, "there is no number on both sides")
    with_canary = _keep_with_canary(base), _keep_with_canary(candidate)
    if all(with_canary):
        base, candidate = with_canary
    number = _find_median(candidate) / _find_median(base)
    if number <= 0 or abs(math.log(number)) < UNMOVED:
        return Attribution(ChangeSource.UNKNOWN, "the number did not move", number)
    if not all(with_canary):
        reason = "no canary on one side: give `canary: true`"
        return Attribution(ChangeSource.UNKNOWN, reason, number)
    models = {run.canary_model for run in (*base, *candidate)}
    if len(models) > 1:
        reason = f"different canary models: {' and '.join(sorted(models))}"
        return Attribution(ChangeSource.UNKNOWN, reason, number)
    return _attribute(number, _compare_canaries(base, candidate))


def _keep_with_canary(runs: Sequence[CanaryRun]) -> list[CanaryRun]:
    """Leave out runs whose canary failed: time and canary are compared over the same runs."""
    return [run for run in runs if run.canary_model and run.readings]


def _attribute(number: float, canary: Ratio) -> Attribution:
    shares = sorted(math.log(bound) / math.log(number) for bound in (canary.low, canary.high))
    text = (
        f"the number moved by {_percent(number)}, the canary by {_percent(canary.value)} "
        f"({_percent(canary.low)} to {_percent(canary.high)})"
    )
    if shares[0] >= EXPLAINS:
        return Attribution(ChangeSource.MACHINE, text, number, canary)
    if shares[1] < EXPLAINS:
        return Attribution(ChangeSource.FRAMEWORK, text, number, canary)
    return Attribution(
        ChangeSource.UNKNOWN, f"{text}: too uncertain to attribute it", number, canary
    )


def _compare_canaries(base: Sequence[CanaryRun], candidate: Sequence[CanaryRun]) -> Ratio:
    """Compute the canaries' ratio.

    The unit is a task if both sides have several, since interference hits both of its canaries;
    else a single canary.
    """
    several = min(len(base), len(candidate)) > 1
    sides = [_average_logs(runs) if several else _take_logs(runs) for runs in (base, candidate)]
    middles = [statistics.fmean(side) for side in sides]
    half = _compute_half_width(sides[0], sides[1])
    moved = middles[1] - middles[0]
    return Ratio(math.exp(moved), math.exp(moved - half), math.exp(moved + half))


def _compute_half_width(base: Sequence[float], candidate: Sequence[float]) -> float:
    """Return the half width; infinite with one canary on each side, which has no spread."""
    from scipy.stats import t

    freedom = len(base) + len(candidate) - 2
    if not freedom:
        return math.inf
    squares = sum(
        (value - statistics.fmean(side)) ** 2 for side in (base, candidate) for value in side
    )
    spread = max(math.sqrt(squares / freedom), FINEST)
    quantile = float(t.ppf((1 + CONFIDENCE) / 2, freedom))
    return quantile * spread * math.sqrt(1 / len(base) + 1 / len(candidate))


def _average_logs(runs: Sequence[CanaryRun]) -> list[float]:
    return [statistics.fmean(math.log(value) for value in run.readings) for run in runs]


def _take_logs(runs: Sequence[CanaryRun]) -> list[float]:
    """Return each canary once: the one after a task may be the one before the next."""
    return [math.log(value) for value in {value for run in runs for value in run.readings}]


def _select_timed(runs: Sequence[CanaryRun]) -> list[CanaryRun]:
    return [run for run in runs if run.ns and 0 < run.ns < math.inf]


def _find_median(runs: Sequence[CanaryRun]) -> float:
    return statistics.median(run.ns for run in runs if run.ns)


def _percent(ratio: float) -> str:
    return f"{100 * (ratio - 1):+.1f} %" if ratio < math.inf else "any amount"
