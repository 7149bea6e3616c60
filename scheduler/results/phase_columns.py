"""Columns of `tasks` that a timed phase has, each under the phase's name.

The comment behind a column is its meaning on the page of the schema.
"""

import pyarrow as pa

_TEXT, _WHOLE, _REAL, _YES = pa.string(), pa.int64(), pa.float64(), pa.bool_()

Column = tuple[str, pa.DataType, str]  # name, type and unit


def list_timing(phase: str) -> tuple[Column, ...]:
    """List the columns of the time of a phase that a sweep must ask for; null if it was not timed.

    Those of forward and gradient are older and have an order of their own.
    """
    return (
        (f"{phase}_median_ns", _REAL, "ns per call"),  # the p50; see docs/workloads.md, Phases
        (f"{phase}_low_ns", _REAL, "ns per call"),  # null if the samples give no interval
        (f"{phase}_high_ns", _REAL, "ns per call"),
        (f"{phase}_samples", _WHOLE, ""),  # number of timed samples
        (f"{phase}_stop_reason", _TEXT, ""),
        (f"{phase}_stable", _YES, ""),  # interval is within the target
        (f"{phase}_instability", _TEXT, ""),  # as of forward
        (f"{phase}_drift", _REAL, "share of the median"),  # significant change of speed
        (f"{phase}_p95_ns", _REAL, "ns per call"),  # of samples; null if there are too few
        (f"{phase}_p99_ns", _REAL, "ns per call"),
    )


def list_means(phase: str) -> tuple[Column, ...]:
    """List the columns of means over a phase: over the task's GPUs, or their sum for power."""
    return (
        (f"{phase}_cpu_percent_mean", _REAL, "percent of one core"),
        (f"{phase}_gpu_percent_mean", _REAL, "percent"),
        (f"{phase}_gpu_memory_percent_mean", _REAL, "percent"),
        (f"{phase}_gpu_power_w_mean", _REAL, "W"),
        (f"{phase}_sm_mhz_mean", _REAL, "MHz"),
    )
