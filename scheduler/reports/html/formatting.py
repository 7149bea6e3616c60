"""Formatting of numbers and names for the page."""

from collections.abc import Sequence

from velodrome.scheduler.reports.cell_keys import Platform, Workload
from velodrome.scheduler.reports.cell_times import Time, format_duration, format_uncertainty

MIB = 2**20
GIB = 2**30
SHORT = 48  # characters of a reason in its cell; the details have all of it


def show_duration(ns: float) -> str:
    """Format a duration as in the terminal, with µ for micro."""
    return format_duration(ns).replace(" us", " µs")


def show_uncertainty(time: Time) -> str:
    """Format the uncertainty as in the terminal, with a space before the percent sign."""
    return format_uncertainty(time).replace("%", " %")


def show_interval(time: Time) -> str:
    """Format as `2.51 ms, 95 % interval 2.49 ms to 2.55 ms`, or the reason for none."""
    median = show_duration(time.median_ns)
    if time.bounds is None:
        return f"{median}, no interval ({show_uncertainty(time)})"
    low, high = map(show_duration, time.bounds)
    by = f" by {time.source}" if time.source else ""
    return f"{median}, 95 % interval {low} to {high}{by}"


def show_size(count: float) -> str:
    """Format bytes in MiB, in GiB from 10,000 MiB."""
    return f"{count / GIB:.1f} GiB" if count >= 10_000 * MIB else f"{count / MIB:.0f} MiB"


def show_count(count: int, noun: str, plural: str = "") -> str:
    """Format as `1 cell`, `12,000 cells`."""
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"


def join_names(names: Sequence[str], most: int = 6) -> str:
    """Format as `a, b and c`, or `a, b and 12 more`."""
    if len(names) > most:
        return f"{', '.join(names[: most - 1])} and {len(names) - most + 1:,} more"
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def truncate(text: str, most: int = SHORT) -> str:
    """Truncate at the end of a word, with an ellipsis."""
    if len(text) <= most:
        return text
    start = text[:most].rsplit(" ", 1)[0] if " " in text[:most] else text[:most]
    return f"{start}…"


def format_workload(workload: Workload) -> str:
    by_rule = f" ({workload.rule})" if workload.rule else ""
    return f"{workload.model}, batch {workload.batch_size}{by_rule}"


def format_platform(platform: Platform) -> str:
    """Format the settings of a platform, e.g. `cpu, 2 threads, float32`."""
    device = platform.device_name or "device unknown"
    return f"{device}, {show_count(platform.threads, 'thread')}, {platform.dtype}"


def format_hardware(platform: Platform) -> str:
    """Format the hardware and node type, e.g. `AMD EPYC 7B13 (9f3a)`, or `no node`."""
    if not platform.hardware:
        return "no node" if not platform.node_type else platform.node_type
    return (
        f"{platform.hardware} ({platform.node_type})" if platform.node_type else platform.hardware
    )
