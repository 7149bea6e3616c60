"""Columns of `tasks` that a timed phase has, each under the phase's name.

The comment behind a column is its meaning on the page of the schema.
"""

import pyarrow as pa

from velodrome.scheduler.results.columns import REAL, TEXT, WHOLE, YES, Column


def list_timing(phase: str) -> tuple[Column, ...]:
    """List the columns of the time of a phase that a sweep must ask for; null if it was not timed.

    Those of forward and gradient are older and have an order of their own.
    """
    return (
        (f"{phase}_median_ns", REAL, "ns per call"),  # the p50; see docs/workloads.md, Phases
        (f"{phase}_low_ns", REAL, "ns per call"),  # null if the samples give no interval
        (f"{phase}_high_ns", REAL, "ns per call"),
        (f"{phase}_samples", WHOLE, ""),  # number of timed samples
        (f"{phase}_stop_reason", TEXT, ""),
        (f"{phase}_stable", YES, ""),  # interval is within the target
        (f"{phase}_instability", TEXT, ""),  # as of forward
        (f"{phase}_drift", REAL, "share of the median"),  # significant change of speed
        (f"{phase}_p95_ns", REAL, "ns per call"),  # of samples; null if there are too few
        (f"{phase}_p99_ns", REAL, "ns per call"),
    )


def name_energy(phase: str) -> str:
    """Name the column of the energy of one call of a phase."""
    return f"energy_per_{phase}_j"


def list_means(phase: str) -> tuple[Column, ...]:
    """List the columns of means over a phase: over the task's GPUs, or their sum for power."""
    return (
        (f"{phase}_cpu_percent_mean", REAL, "percent of one core"),
        (f"{phase}_gpu_percent_mean", REAL, "percent"),
        (f"{phase}_gpu_memory_percent_mean", REAL, "percent"),
        (f"{phase}_gpu_power_w_mean", REAL, "W"),
        (f"{phase}_sm_mhz_mean", REAL, "MHz"),
    )


def list_partner_means(phase: str) -> tuple[Column, ...]:
    """List the columns of means over a phase on each other node of a task on several."""
    many = pa.list_(REAL)
    return (
        (f"partner_{phase}_cpu_percent_means", many, "percent of one core"),  # of each other node
        (f"partner_{phase}_gpu_percent_means", many, "percent"),  # of each other node's GPUs
    )
