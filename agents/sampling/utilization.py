"""What a task used of its machine, summed up from its readings.

Means and energy are over the timed phases, peaks over the worker's whole life. A figure that
cannot be told for all of the time it stands for is None, never a smaller number.
"""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from velodrome.adapters.protocol import Phase
from velodrome.agents.measurement import GpuReading, Reading
from velodrome.agents.sampling.energy import Point, Window, counter_growth, integral

TIMED = ("forward", "gradient")
MEASURED, ESTIMATED, UNAVAILABLE = "measured", "estimated", "unavailable"


@dataclass(frozen=True)
class Utilization:
    """Percentages are of one core and of one GPU: two cores busy are 200, two GPUs busy 100.

    energy_j is that of the task's GPUs, of a task without any that of the sockets (RAPL); of
    everything that ran there. energy_source: `measured` by a counter, `estimated` from power,
    or `unavailable`. cpu_energy_j is always of the sockets.
    """

    cpu_percent_mean: float | None
    peak_rss_bytes: int | None
    gpu_percent_mean: float | None
    peak_gpu_memory_bytes: int | None
    energy_j: float | None
    energy_source: str
    cpu_energy_j: float | None


def summarize(
    readings: Sequence[Reading],
    phases: Sequence[Phase],
    *,
    peak_rss_bytes: int | None = None,
    ended_ns: int | None = None,
) -> Utilization:
    """peak_rss_bytes: the sampler's, which knows peaks between readings.

    ended_ns ends the last phase (the time of `finished`); None: the last reading does.
    """
    windows = timed_windows(phases, ended_ns or (readings[-1].at_ns if readings else 0))
    cpu_j = _cpu_energy_j(readings, windows)
    energy_j, source = _gpu_energy_j(readings, windows)
    if not _gpus(readings):
        energy_j, source = cpu_j, MEASURED if cpu_j is not None else UNAVAILABLE
    peaks = [reading.rss_bytes for reading in readings]
    return Utilization(
        cpu_percent_mean=_mean([(r.at_ns, r.cpu_percent) for r in readings], windows),
        peak_rss_bytes=max([*peaks, peak_rss_bytes or 0], default=0) or None,
        gpu_percent_mean=_gpu_percent_mean(readings, windows),
        peak_gpu_memory_bytes=_peak_gpu_memory_bytes(readings),
        energy_j=energy_j,
        energy_source=source,
        cpu_energy_j=cpu_j,
    )


def timed_windows(phases: Sequence[Phase], ended_ns: int) -> tuple[Window, ...]:
    """From the start of each timed phase to that of the phase after it."""
    ends = [*(phase.at_ns for phase in phases[1:]), ended_ns]
    spans = [(phase, end) for phase, end in zip(phases, ends, strict=False) if phase.name in TIMED]
    return tuple((phase.at_ns, end) for phase, end in spans if end > phase.at_ns)


def _mean(points: Sequence[Point], windows: Sequence[Window]) -> float | None:
    """Each value stands for the time since the one before it, as far as that lies in a window."""
    shares = [
        (b[1], sum(max(0, min(b[0], end) - max(a[0], begin)) for begin, end in windows))
        for a, b in pairwise(points)
    ]
    total = sum(share for _, share in shares)
    return sum(value * share for value, share in shares) / total if total else None


def _gpus(readings: Sequence[Reading]) -> list[str]:
    return sorted({gpu.uuid for reading in readings for gpu in reading.gpus})


def _points(
    readings: Sequence[Reading], uuid: str, figure: Callable[[GpuReading], float | None]
) -> list[Point]:
    found = [(r.at_ns, figure(gpu)) for r in readings for gpu in r.gpus if gpu.uuid == uuid]
    return [(at_ns, value) for at_ns, value in found if value is not None]


def _gpu_percent_mean(readings: Sequence[Reading], windows: Sequence[Window]) -> float | None:
    """Over the task's GPUs. None if one of them does not say."""
    means = [
        _mean(_points(readings, uuid, lambda gpu: gpu.percent), windows) for uuid in _gpus(readings)
    ]
    known = [mean for mean in means if mean is not None]
    return statistics.fmean(known) if known and len(known) == len(means) else None


def _peak_gpu_memory_bytes(readings: Sequence[Reading]) -> int | None:
    """The most that the worker's processes held on all its GPUs at one instant.

    Where the driver does not tell processes apart: what was taken on those GPUs by anybody.
    """
    own = [[gpu.process_memory_bytes for gpu in reading.gpus] for reading in readings]
    device = [[gpu.memory_bytes for gpu in reading.gpus] for reading in readings]
    peak = _peak(own)
    return _peak(device) if peak is None else peak


def _peak(instants: Sequence[Sequence[int | None]]) -> int | None:
    sums = []
    for values in instants:
        known = [value for value in values if value is not None]
        if known and len(known) == len(values):
            sums.append(sum(known))
    return max(sums, default=None)


def _gpu_energy_j(
    readings: Sequence[Reading], windows: Sequence[Window]
) -> tuple[float | None, str]:
    """Of all the task's GPUs, each by its counter, or else from its power."""
    sources = set()
    joules: list[float | None] = []
    for uuid in _gpus(readings):
        millijoules = _points(readings, uuid, lambda gpu: gpu.energy_mj)
        watts = _points(readings, uuid, lambda gpu: gpu.power_w)
        counted = _sum([counter_growth(millijoules, window) for window in windows])
        if counted is not None:
            sources.add(MEASURED)
            joules.append(counted / 1000)
        else:
            sources.add(ESTIMATED)
            joules.append(_sum([integral(watts, window) for window in windows]))
    total = _sum(joules)
    if total is None:
        return None, UNAVAILABLE
    return total, ESTIMATED if ESTIMATED in sources else MEASURED


def _cpu_energy_j(readings: Sequence[Reading], windows: Sequence[Window]) -> float | None:
    counts = [(reading.at_ns, reading.package_energy_uj) for reading in readings]
    points = [(at_ns, count) for at_ns, count in counts if count is not None]
    microjoules = _sum([counter_growth(points, window) for window in windows])
    return None if microjoules is None else microjoules / 1e6


def _sum(parts: Sequence[float | None]) -> float | None:
    """None if there are no parts, or one is not known."""
    known = [part for part in parts if part is not None]
    return sum(known) if known and len(known) == len(parts) else None
