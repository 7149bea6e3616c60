"""A task's utilization of its machine, summarized from its readings.

Means and energy are over the timed phases, peaks over the worker's whole life. A figure that is
unknown for part of its time is None, never a smaller number.
"""

import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from velodrome.adapters.protocol import TIMED_PHASES, Phase
from velodrome.agents.measurement import GpuReading, PhaseEnergy, PhaseMeans, Reading, Sample
from velodrome.agents.sampling.energy import (
    Energy,
    gpu_energy,
    gpu_points,
    gpu_uuids,
    socket_energy,
    total_or_none,
)
from velodrome.agents.sampling.energy_integration import Point, Window


@dataclass(frozen=True)
class Utilization:
    """Utilization in percent of one core and of one GPU: two busy cores are 200, two busy GPUs 100.

    energy_j: of the task's GPUs, or for a CPU task of the sockets (RAPL), whoever used them.
    energy_source: `measured` by a counter, `estimated` from power, or `unavailable`; energy_reason:
    why it is not measured. energies: of the timed phases for which it is known, from the start of
    the first sample to the end of the last. cpu_energy_j: always of the sockets. notes: figures
    that disagree.

    peak_gpu_process_memory_bytes: of the worker's processes alone. peak_gpu_memory_bytes: of all
    processes if the driver does not separate them.
    """

    cpu_percent_mean: float | None
    peak_rss_bytes: int | None
    gpu_percent_mean: float | None
    peak_gpu_memory_bytes: int | None
    peak_gpu_process_memory_bytes: int | None
    energy_j: float | None
    energy_source: str
    energy_reason: str
    energies: tuple[PhaseEnergy, ...]
    energy_deviation_percent: float | None
    cpu_energy_j: float | None
    means: tuple[PhaseMeans, ...]
    notes: tuple[str, ...]


def summarize_utilization(
    readings: Sequence[Reading],
    phases: Sequence[Phase],
    *,
    samples: Sequence[Sample] = (),
    peak_rss_bytes: int | None = None,
    ended_ns: int | None = None,
) -> Utilization:
    """Summarize readings. peak_rss_bytes: the sampler's, which includes peaks between readings.

    ended_ns ends the last phase (the time of `finished`); None: the last reading does.
    """
    ended_ns = ended_ns or (readings[-1].at_ns if readings else 0)
    windows = timed_windows(phases, ended_ns)
    parts = _list_windows(samples)
    sockets = socket_energy(readings, windows, parts)
    energy = gpu_energy(readings, windows, parts) if gpu_uuids(readings) else sockets
    peaks = [reading.rss_bytes for reading in readings]
    own_memory = _peak([[gpu.process_memory_bytes for gpu in each.gpus] for each in readings])
    memory = _peak([[gpu.memory_bytes for gpu in each.gpus] for each in readings])
    return Utilization(
        cpu_percent_mean=_mean([(r.at_ns, r.cpu_percent) for r in readings], windows),
        peak_rss_bytes=max([*peaks, peak_rss_bytes or 0], default=0) or None,
        gpu_percent_mean=_gpu_mean(readings, windows, lambda gpu: gpu.percent),
        peak_gpu_memory_bytes=memory if own_memory is None else own_memory,
        peak_gpu_process_memory_bytes=own_memory,
        energy_j=energy.joules,
        energy_source=energy.source,
        energy_reason=energy.reason,
        energies=_divide_energies(energy, samples),
        energy_deviation_percent=energy.deviation_percent,
        cpu_energy_j=sockets.joules,
        means=tuple(_phase_means(readings, phases, ended_ns, name) for name in _list_timed(phases)),
        notes=(energy.inconsistency,) if energy.inconsistency else (),
    )


def timed_windows(
    phases: Sequence[Phase], ended_ns: int, names: Sequence[str] = TIMED_PHASES
) -> tuple[Window, ...]:
    """List the windows of the timed phases: each ends where the next phase starts."""
    ends = [*(phase.at_ns for phase in phases[1:]), ended_ns]
    spans = [(phase, end) for phase, end in zip(phases, ends, strict=False) if phase.name in names]
    return tuple((phase.at_ns, end) for phase, end in spans if end > phase.at_ns)


def _list_timed(phases: Sequence[Phase]) -> list[str]:
    """List the timed phases that have begun."""
    begun = {phase.name for phase in phases}
    return [name for name in TIMED_PHASES if name in begun]


def _list_windows(samples: Sequence[Sample]) -> dict[str, Window]:
    """Return by phase the time from its first sample's start to the end of its last one."""
    found: dict[str, Window] = {}
    for sample in samples:
        start_ns, end_ns = sample.started_ns, sample.started_ns + sample.elapsed_ns
        begun_ns, ended_ns = found.get(sample.phase, (start_ns, end_ns))
        found[sample.phase] = min(begun_ns, start_ns), max(ended_ns, end_ns)
    return found


def _divide_energies(energy: Energy, samples: Sequence[Sample]) -> tuple[PhaseEnergy, ...]:
    """Divide the energy of each phase, where it is known, by the calls of its samples."""
    calls = Counter[str]()
    for sample in samples:
        calls[sample.phase] += sample.calls
    return tuple(
        PhaseEnergy(phase, joules / calls[phase])
        for phase in TIMED_PHASES
        if (joules := energy.parts_j.get(phase)) is not None and calls[phase]
    )


def _phase_means(
    readings: Sequence[Reading], phases: Sequence[Phase], ended_ns: int, name: str
) -> PhaseMeans:
    windows = timed_windows(phases, ended_ns, (name,))
    watts = [
        _mean(gpu_points(readings, uuid, lambda gpu: gpu.power_w), windows)
        for uuid in gpu_uuids(readings)
    ]
    return PhaseMeans(
        phase=name,
        cpu_percent=_mean([(r.at_ns, r.cpu_percent) for r in readings], windows),
        gpu_percent=_gpu_mean(readings, windows, lambda gpu: gpu.percent),
        gpu_memory_percent=_gpu_mean(readings, windows, lambda gpu: gpu.memory_percent),
        gpu_power_w=total_or_none(watts),
        sm_mhz=_gpu_mean(readings, windows, lambda gpu: gpu.sm_mhz),
    )


def _mean(points: Sequence[Point], windows: Sequence[Window]) -> float | None:
    """Return the mean; each value counts for the time since the previous one, within windows."""
    shares = [
        (b[1], sum(max(0, min(b[0], end) - max(a[0], begin)) for begin, end in windows))
        for a, b in pairwise(points)
    ]
    total = sum(share for _, share in shares)
    return sum(value * share for value, share in shares) / total if total else None


def _gpu_mean(
    readings: Sequence[Reading],
    windows: Sequence[Window],
    figure: Callable[[GpuReading], float | None],
) -> float | None:
    """Return the mean over the task's GPUs; None if one of them is unknown."""
    means = [_mean(gpu_points(readings, uuid, figure), windows) for uuid in gpu_uuids(readings)]
    known = [mean for mean in means if mean is not None]
    return statistics.fmean(known) if known and len(known) == len(means) else None


def _peak(instants: Sequence[Sequence[int | None]]) -> int | None:
    """Return the highest sum over all GPUs at an instant with all values known."""
    sums = []
    for values in instants:
        known = [value for value in values if value is not None]
        if known and len(known) == len(values):
            sums.append(sum(known))
    return max(sums, default=None)
