"""Columns of `tasks` with the times of the phases. Pure."""

from velodrome.adapters.protocol import TIMED_PHASES, Timed
from velodrome.agents.measurement import Measurement
from velodrome.scheduler.results.loading_columns import compute_hidden_share
from velodrome.scheduler.statistics.percentiles import compute_percentile

PERCENTILES = {"p95": 0.95, "p99": 0.99}

Row = dict[str, object]


def list_times(measurement: Measurement) -> Row:
    """Build the columns of every phase, and of the decisive one."""
    times, decisive = measurement.times, measurement.decisive
    found: Row = {
        "stop_reason": decisive.stop_reason if decisive else None,
        "stable": decisive.stable if decisive else None,
        "warm_up_converged": all(timed.settled for timed in times.values()) if times else None,
    }
    medians = {phase: timed.median_ns for phase, timed in times.items()}
    found["hidden_load_share"] = compute_hidden_share(medians)
    for phase in TIMED_PHASES:
        found |= _list_phase(phase, times.get(phase))
        found |= {
            f"{phase}_{name}_ns": value for name, value in find_tail(measurement, phase).items()
        }
    return found


def find_tail(measurement: Measurement, phase: str) -> dict[str, float | None]:
    """Compute the percentiles p95 and p99 of a phase's samples, in ns per call; None: too few.

    A sample of a short call covers several calls, except of inference.
    """
    timed = measurement.times.get(phase)
    samples = [one.elapsed_ns for one in measurement.samples if one.phase == phase]
    inflated = max(len(samples) / timed.worth, 1.0) if timed and timed.worth else 1.0
    found = {
        name: compute_percentile(samples, share, inflated=inflated)
        for name, share in PERCENTILES.items()
    }
    return {name: one.value / timed.calls if one and timed else None for name, one in found.items()}


def _list_phase(phase: str, timed: Timed | None) -> Row:
    return {
        f"{phase}_median_ns": timed.median_ns if timed else None,
        f"{phase}_low_ns": timed.low_ns if timed and timed.bounded else None,
        f"{phase}_high_ns": timed.high_ns if timed and timed.bounded else None,
        f"{phase}_samples": timed.samples if timed else None,
        f"{phase}_stop_reason": timed.stop_reason if timed else None,
        f"{phase}_stable": timed.stable if timed else None,
        f"{phase}_instability": timed.doubt if timed else None,
        f"{phase}_drift": timed.drift if timed else None,
    }


def add_first_step(
    import_ns: int | None, build_ns: int | None, first_call_ns: int | None
) -> int | None:
    """Add what precedes the end of the first step; None if a part is not known."""
    if import_ns is None or build_ns is None or first_call_ns is None:
        return None
    return import_ns + build_ns + first_call_ns
