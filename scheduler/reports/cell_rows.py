"""Cells as flat rows of plain values, for CSV."""

from collections.abc import Iterable, Sequence

from velodrome.adapters.protocol import TIMED_PHASES, USUAL_PHASES
from velodrome.scheduler.plans.expected_outcomes import AGREED
from velodrome.scheduler.reports.cell_keys import Implementation, Platform, Workload
from velodrome.scheduler.reports.cell_times import Time, describe_interval
from velodrome.scheduler.reports.cell_work import CellWork, GridUnit
from velodrome.scheduler.reports.cells import AGAINST_ITSELF, CellResult
from velodrome.scheduler.results.phase_columns import name_energy
from velodrome.scheduler.results.rate_columns import (
    ENERGY_PHASES,
    MILLION,
    NS_PER_HOUR,
    RATED_PHASES,
)


def list_column_phases(cells: Iterable[CellResult]) -> tuple[str, ...]:
    """List the phases that rows have columns for: the usual ones, and others with a time."""
    found = list(cells)
    return tuple(
        phase
        for phase in TIMED_PHASES
        if phase in USUAL_PHASES or any(cell.time(phase) for cell in found)
    )


def build_cell_row(
    platform: Platform,
    workload: Workload,
    impl: Implementation,
    cell: CellResult,
    phases: Sequence[str] = USUAL_PHASES,
) -> dict[str, object]:
    """Build a flat row: times in ns, memory in bytes, None for a missing value.

    phases: from list_column_phases.
    """
    times: dict[str, object] = {}
    for phase in phases:
        times |= _list_times(phase, cell.time(phase))
    for phase in phases:
        times |= _list_rates(phase, cell.time(phase), cell.work) if phase in RATED_PHASES else {}
    return {
        "hardware": platform.hardware,
        "node_type": platform.node_type,
        "device": platform.device,
        "gpu_count": platform.gpu_count,
        "gpu_model": platform.gpu_model,
        "processes": platform.processes,
        "nodes": platform.nodes,
        "threads": platform.threads,
        "dtype": platform.dtype,
        "framework": impl.framework,
        "variant": impl.variant,
        "qualifier": impl.qualifier.removeprefix(", "),
        "model": workload.model,
        "batch_size": workload.batch_size,
        "batch_size_rule": workload.rule,
        "status": cell.status.value,
        "expected": cell.expected or AGREED,
        "unexpected": cell.is_unexpected,
        "repeats": cell.repeats,
        "verified": cell.verified,
        "verified_against": name_reference(cell),
        "proved": "; ".join(cell.proof.proved),
        "unproved": "; ".join(cell.proof.unproved),
        "stable": cell.is_stable,
        "more_repeats": cell.more_repeats,
        **times,
        **_list_energies(cell.work, phases),
        **_list_costs(cell),
        "cost_reason": cell.work.price.reason if cell.work.price.is_mixed else None,
        "vendor_peak_flops_per_s": cell.work.peak_flops_per_s,
        "mfu": cell.value("gradient", GridUnit.MFU),
        "algorithm_bytes_per_s": cell.value("forward", GridUnit.ALGBW),
        "bus_bytes_per_s": cell.value("forward", GridUnit.BUSBW),
        "gradient_error": cell.gradient_error,
        "peak_rss_bytes": cell.peak_rss_bytes or None,
        "cpu_percent_mean": cell.cpu_percent_mean,
        "reason": cell.reason,
    }


def name_reference(cell: CellResult) -> str | None:
    """Return what a verified cell was compared with, as the column of `tasks`."""
    if not cell.verified:
        return None
    return AGAINST_ITSELF if cell.is_against_itself else "reference"


def _list_times(phase: str, time: Time | None) -> dict[str, object]:
    return {
        f"{phase}_{name}_ns": getattr(time, f"{name}_ns") if time else None
        for name in ("median", "low", "high")
    } | {
        f"{phase}_interval": describe_interval(time) if time else None,
        f"{phase}_stable": time.is_stable if time else None,
        f"{phase}_instability": time.instability if time else None,
    }


def _list_rates(phase: str, time: Time | None, work: CellWork) -> dict[str, object]:
    """Return the rates by the median, named as the computed columns of `tasks`."""
    amounts = {
        "examples": work.examples or None,
        "tokens": work.tokens,
        "flops": work.flops(phase),
    }
    return {
        f"{phase}_{name}_per_s": amount / time.median_ns * 1e9
        if time and time.median_ns > 0 and amount is not None
        else None
        for name, amount in amounts.items()
    }


def _list_energies(work: CellWork, phases: Sequence[str]) -> dict[str, object]:
    """Return the energies per example and per token, named as the computed columns of `tasks`."""
    amounts = {"example": work.examples, "token": work.tokens}
    found: dict[str, object] = {}
    for phase in phases:
        joules = work.energy_j(phase)
        found[name_energy(phase)] = joules
        for name, amount in amounts.items() if phase in ENERGY_PHASES else ():
            found[f"{phase}_j_per_{name}"] = joules / amount if joules and amount else None
    return found


def _list_costs(cell: CellResult) -> dict[str, object]:
    """Return the costs of gradients, named as the computed columns of `tasks`."""
    work = cell.work
    ns = cell.gradient.median_ns if cell.gradient else None
    amounts = {"examples": work.examples, "tokens": work.tokens}
    price = work.price
    known = ns is not None and price.per_hour is not None
    return {"price_currency": price.currency or None} | {
        f"cost_per_million_{name}": (price.per_hour or 0)
        / NS_PER_HOUR
        * (ns or 0)
        * MILLION
        / amount
        if known and amount
        else None
        for name, amount in amounts.items()
    }
