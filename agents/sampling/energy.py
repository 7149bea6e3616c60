"""The energy of a task, its meter, and the reason if there is no better figure.

A GPU's energy is the growth of its counter (`measured`). Without a counter, or after its reset,
power is integrated by trapezoids (`estimated`). If power has gaps too, there is no figure
(`unavailable`), never a smaller one.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from velodrome.agents.measurement import GpuReading, Reading
from velodrome.agents.sampling.energy_integration import (
    Point,
    Window,
    counter_growth,
    integrate,
    is_resolved,
    list_updates,
    was_reset,
)

MEASURED, ESTIMATED, UNAVAILABLE = "measured", "estimated", "unavailable"
Parts = Mapping[str, float | None]  # joules by the name of a window; None: unknown
# Counter and power are each good to some 5 % (NVML reference, nvmlDeviceGetPowerUsage).
TOLERATED_DEVIATION_PERCENT = 10.0


@dataclass(frozen=True)
class Energy:
    """Energy within all windows (joules) and within each of some further ones (parts_j).

    reason: why it is not `measured`. deviation_percent: how far the integral of power exceeds the
    counter; None unless both exist. inconsistency: meters that disagree; empty if none do.
    """

    joules: float | None
    source: str
    reason: str = ""
    parts_j: Parts = field(default_factory=dict)
    deviation_percent: float | None = None
    inconsistency: str = ""


@dataclass(frozen=True)
class _GpuEnergy:
    """One GPU within the windows and the parts. counted and integrated: None if unknown."""

    counted_j: float | None
    integrated_j: float | None
    parts_counted_j: Parts
    parts_integrated_j: Parts
    counter_problem: str
    integral_problem: str

    @property
    def joules(self) -> float | None:
        return self.integrated_j if self.counted_j is None else self.counted_j

    @property
    def parts_j(self) -> Parts:
        return self.parts_integrated_j if self.counted_j is None else self.parts_counted_j

    @property
    def reason(self) -> str:
        if self.counted_j is not None:
            return ""
        if self.integrated_j is not None:
            return f"{self.counter_problem}: its power was integrated"
        return " and ".join(dict.fromkeys((self.counter_problem, self.integral_problem)))


def gpu_energy(
    readings: Sequence[Reading], windows: Sequence[Window], parts: Mapping[str, Window]
) -> Energy:
    """Sum the energy of all GPUs; unknown if one of them is."""
    metered = [_measure_gpu(readings, uuid, windows, parts) for uuid in gpu_uuids(readings)]
    reason = "; ".join(gpu.reason for gpu in metered if gpu.reason)
    joules = total_or_none([gpu.joules for gpu in metered])
    if joules is None:
        return Energy(None, UNAVAILABLE, reason or "no GPU was sampled")
    counted = all(gpu.counted_j is not None for gpu in metered)
    deviation = _deviation_percent(metered) if counted else None
    return Energy(
        joules=joules,
        source=MEASURED if counted else ESTIMATED,
        reason=reason,
        parts_j={part: total_or_none([gpu.parts_j[part] for gpu in metered]) for part in parts},
        deviation_percent=deviation,
        inconsistency=_deviation_note(deviation),
    )


def socket_energy(
    readings: Sequence[Reading], windows: Sequence[Window], parts: Mapping[str, Window]
) -> Energy:
    """Read RAPL's counters, which cover everything that ran on the machine's sockets."""
    counts = [(reading.at_ns, reading.package_energy_uj) for reading in readings]
    points = [(at_ns, float(count)) for at_ns, count in counts if count is not None]
    microjoules = total_or_none([counter_growth(points, window) for window in windows])
    if microjoules is None:
        gaps = "the energy counter of the sockets (RAPL) has gaps"
        missing = "the sockets have no readable energy counter (RAPL)"
        return Energy(None, UNAVAILABLE, gaps if points else missing)
    joules = [(at_ns, count / 1e6) for at_ns, count in points]
    return Energy(microjoules / 1e6, MEASURED, parts_j=_count_parts(parts, joules))


def gpu_uuids(readings: Sequence[Reading]) -> list[str]:
    """List the UUIDs of all GPUs in the readings."""
    return sorted({gpu.uuid for reading in readings for gpu in reading.gpus})


def gpu_name(gpu: GpuReading) -> str:
    """Return a GPU's usual name: its number, and the UUID of a MIG instance."""
    return f"{gpu.uuid} of GPU {gpu.index}" if gpu.uuid.startswith("MIG-") else f"GPU {gpu.index}"


def gpu_points(
    readings: Sequence[Reading], uuid: str, figure: Callable[[GpuReading], float | None]
) -> list[Point]:
    """List one figure of one GPU over time, without its gaps."""
    found = [(r.at_ns, figure(gpu)) for r in readings for gpu in r.gpus if gpu.uuid == uuid]
    return [(at_ns, value) for at_ns, value in found if value is not None]


def total_or_none(parts: Sequence[float | None]) -> float | None:
    """Sum the parts; None if there are none, or one is unknown."""
    known = [part for part in parts if part is not None]
    return sum(known) if known and len(known) == len(parts) else None


def _measure_gpu(
    readings: Sequence[Reading], uuid: str, windows: Sequence[Window], parts: Mapping[str, Window]
) -> _GpuEnergy:
    states = [gpu for reading in readings for gpu in reading.gpus if gpu.uuid == uuid]
    counts = gpu_points(readings, uuid, lambda gpu: gpu.energy_mj)
    joules = [(at_ns, count / 1000) for at_ns, count in counts]
    watts = gpu_points(readings, uuid, lambda gpu: gpu.power_w)
    name = gpu_name(states[-1])
    return _GpuEnergy(
        counted_j=total_or_none([counter_growth(joules, window) for window in windows]),
        integrated_j=total_or_none([integrate(watts, window) for window in windows]),
        parts_counted_j=_count_parts(parts, joules),
        parts_integrated_j={
            part: integrate(watts, window) if is_resolved(watts, window) else None
            for part, window in parts.items()
        },
        counter_problem=_counter_problem(name, states, joules, windows),
        integral_problem=_integral_problem(name, states, watts),
    )


def _count_parts(parts: Mapping[str, Window], points: Sequence[Point]) -> Parts:
    """Return a counter's growth within each window; None for one that is too short for it.

    That is by its readings, and by its own updates.
    """
    updates = list_updates(points)
    return {
        part: counter_growth(points, window)
        if is_resolved(points, window) and is_resolved(updates, window)
        else None
        for part, window in parts.items()
    }


def _counter_problem(
    name: str, states: Sequence[GpuReading], points: Sequence[Point], windows: Sequence[Window]
) -> str:
    if any(was_reset(points, window) for window in windows):
        return f"the energy counter of {name} was reset"
    if points:
        return _gap_problem(name, states, "energy counter")
    return _gap_problem(name, states, "") or f"{name} has no energy counter"


def _integral_problem(name: str, states: Sequence[GpuReading], points: Sequence[Point]) -> str:
    if points:
        return _gap_problem(name, states, "power meter")
    return _gap_problem(name, states, "") or f"{name} has no power meter"


def _gap_problem(name: str, states: Sequence[GpuReading], meter: str) -> str:
    """Describe the gap; empty if no problem is known."""
    if any(gpu.lost for gpu in states):
        return f"{name} was lost"
    if states[-1].uuid.startswith("MIG-"):
        return f"{name} has no meter of its own"
    return f"the {meter} of {name} has a gap" if meter else ""


def _deviation_percent(metered: Sequence[_GpuEnergy]) -> float | None:
    counted = total_or_none([gpu.counted_j for gpu in metered])
    integrated = total_or_none([gpu.integrated_j for gpu in metered])
    if not counted or integrated is None:
        return None
    return 100 * (integrated - counted) / counted


def _deviation_note(deviation_percent: float | None) -> str:
    if deviation_percent is None or abs(deviation_percent) <= TOLERATED_DEVIATION_PERCENT:
        return ""
    relation = "more" if deviation_percent > 0 else "less"
    size = f"{abs(deviation_percent):.0f} % {relation}"
    return f"integrated power is {size} than the GPU's energy counter"
