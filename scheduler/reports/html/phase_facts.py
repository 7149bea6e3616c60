"""Facts of a cell's details on its phases: times, latencies, the time to the first step."""

import statistics
from collections.abc import Iterator, Sequence

from velodrome.adapters.protocol import TIMED_PHASES
from velodrome.scheduler.reports.ceilings_text import format_rate
from velodrome.scheduler.reports.cell_rates import describe_rates
from velodrome.scheduler.reports.cell_work import CellWork
from velodrome.scheduler.reports.cells import CellResult
from velodrome.scheduler.reports.html.formatting import show_count, show_duration, show_interval
from velodrome.scheduler.results.ceilings import RateUnit
from velodrome.scheduler.results.loading_columns import compute_hidden_share
from velodrome.scheduler.results.rate_columns import ENERGY_PHASES
from velodrome.scheduler.results.time_columns import add_first_step
from velodrome.scheduler.results.typed_rows import TaskRow

LATENCIES = {"p50": "median", "p95": "p95", "p99": "p99"}  # with the names of their columns


def list_times(cell: CellResult, rows: Sequence[TaskRow]) -> Iterator[tuple[str, str]]:
    for phase in TIMED_PHASES:
        time = cell.time(phase)
        if time is None:
            continue
        samples = sum(int(row.number(f"{phase}_samples") or 0) for row in rows)
        processes = show_count(cell.with_number, "process", "processes")
        source = f"{show_count(samples, 'sample')} in {processes}" if samples else processes
        yield f"{phase} time", f"{show_interval(time)}; {source}"
        if rates := describe_rates(time, cell.work, phase):
            yield f"{phase} rate", rates
        if energy := describe_phase_energy(cell.work, phase):
            yield f"{phase} energy", energy
        if phase == "fed_gradient" and (hidden := describe_loading(cell, rows)):
            yield "loading", hidden
        if phase == "inference" and (tail := describe_latency(rows)):
            yield "inference latency", tail


def describe_phase_energy(work: CellWork, phase: str) -> str:
    """Describe the median energy of a phase: `6.4 J per call, 0.1 J per image`; empty if unknown.

    An update works on no examples.
    """
    joules = work.energy_j(phase)
    if joules is None:
        return ""
    text = f"{joules:.3g} J per call"
    if phase not in ENERGY_PHASES or not work.units > 0:
        return text
    return f"{text}, {joules / work.units:.3g} J per {work.unit}"


def describe_loading(cell: CellResult, rows: Sequence[TaskRow]) -> str:
    """Describe how fast a loader that reads ahead gives batches, and what a gradient hides of one.

    Empty without a time of each phase that this takes.
    """
    medians = {phase: time.median_ns for phase in TIMED_PHASES if (time := cell.time(phase))}
    share = compute_hidden_share(medians)
    sizes = {row.loaded_bytes for row in rows if row.loaded_bytes}
    if share is None:
        return ""
    text = f"a gradient hides {share:.0%} of a batch's load"
    if "prefetched_load" not in medians or len(sizes) != 1:
        return text
    rate = format_rate(1e9 * sizes.pop() / medians["prefetched_load"], RateUnit.BYTES)
    return f"{text}; read ahead, {rate} of inputs from the page cache"


def describe_latency(rows: Sequence[TaskRow]) -> str:
    """Describe the latency of one call of inference: each percentile's median over processes.

    Without those for which samples are too few; empty without any but the median.
    """
    found = {}
    for name, bound in LATENCIES.items():
        known = [ns for row in rows if (ns := row.ns("inference", bound)) is not None]
        if known:
            found[name] = statistics.median(known)
    if len(found) < 2:
        return ""
    return ", ".join(f"{name} {show_duration(ns)}" for name, ns in found.items())


def describe_first_step(cell: CellResult, rows: Sequence[TaskRow]) -> str:
    """Describe the longest time of import, build and first calls together; empty if unknown."""
    known = [
        total
        for row in rows
        if (total := add_first_step(row.import_ns, row.build_ns, row.first_call_ns)) is not None
    ]
    return f"{show_duration(max(known))} at most" if known else ""
