"""Numbers and names as a reader wants them: three figures, units, no more than fits."""

from collections.abc import Sequence

from velodrome.scheduler.reports.cell_keys import Platform, Workload
from velodrome.scheduler.reports.cell_times import Time, format_uncertainty
from velodrome.scheduler.reports.tables import format_duration

MIB = 2**20
GIB = 2**30
SHORT = 48  # characters of a reason that stand in its cell; all of it is in the detail


def shown_duration(ns: float) -> str:
    """As everywhere, with the sign for micro."""
    return format_duration(ns).replace(" us", " µs")


def spread(time: Time) -> str:
    """How far it may be off, as far as that is known, with a space before the sign for percent."""
    return format_uncertainty(time).replace("%", " %")


def interval(time: Time) -> str:
    """E.g. `2.51 ms, 95 % interval 2.49 ms to 2.55 ms`, or why there is none."""
    shown = shown_duration(time.median_ns)
    if time.bounds is None:
        return f"{shown}, no interval ({spread(time)})"
    low, high = map(shown_duration, time.bounds)
    by = f" by {time.source}" if time.source else ""
    return f"{shown}, 95 % interval {low} to {high}{by}"


def size(count: float) -> str:
    """Bytes in MiB, or in GiB from ten thousand MiB."""
    return f"{count / GIB:.1f} GiB" if count >= 10_000 * MIB else f"{count / MIB:.0f} MiB"


def counted(count: int, noun: str, plural: str = "") -> str:
    """E.g. `1 cell`, `12,000 cells`."""
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"


def listed(names: Sequence[str], most: int = 6) -> str:
    """E.g. `a, b and c`, or `a, b and 12 more`."""
    if len(names) > most:
        return f"{', '.join(names[: most - 1])} and {len(names) - most + 1:,} more"
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def cut(text: str, most: int = SHORT) -> str:
    """At a word's end where there is one, with an ellipsis for what is left out."""
    if len(text) <= most:
        return text
    whole = text[:most].rsplit(" ", 1)[0] if " " in text[:most] else text[:most]
    return f"{whole}…"


def format_workload(workload: Workload) -> str:
    return f"{workload.model}, batch {workload.batch_size}"


def format_platform(platform: Platform) -> str:
    """What sets it apart, e.g. `cpu, 2 threads, float32`."""
    device = platform.device_name or "device unknown"
    return f"{device}, {counted(platform.threads, 'thread')}, {platform.dtype}"


def format_hardware(platform: Platform) -> str:
    """Where it ran, e.g. `AMD EPYC 7B13 (type 9f3a)`; what ran nowhere has none."""
    if not platform.hardware:
        return "no node" if not platform.node_type else platform.node_type
    return (
        f"{platform.hardware} ({platform.node_type})" if platform.node_type else platform.hardware
    )
