"""What energy a task took, by which meter, and why there is no better figure.

A GPU's energy is the growth of its counter (`measured`). Where there is none, or it began anew
meanwhile, power is integrated by trapezoids (`estimated`); where power was not told all the time
either, there is no figure (`unavailable`), never a smaller one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from velodrome.agents.measurement import GpuReading, Reading
from velodrome.agents.sampling.energy_integration import (
    Point,
    Window,
    counter_growth,
    fell,
    integral,
    is_resolved,
)

MEASURED, ESTIMATED, UNAVAILABLE = "measured", "estimated", "unavailable"
# Counter and power are each good to some 5 % (NVML reference, nvmlDeviceGetPowerUsage).
TOLERATED_DEVIATION_PERCENT = 10.0


@dataclass(frozen=True)
class Energy:
    """joules: within all windows. gradient_j: within one more window, by the same meters.

    reason: why it is not `measured`. deviation_percent: how far the integral of power is above
    the counter; None where there are not both. doubt: what does not fit together; empty if all
    does.
    """

    joules: float | None
    source: str
    reason: str = ""
    gradient_j: float | None = None
    deviation_percent: float | None = None
    doubt: str = ""


@dataclass(frozen=True)
class _Metered:
    """One GPU within the windows. counted_j and integrated_j: None is not known."""

    counted_j: float | None
    integrated_j: float | None
    gradient_counted_j: float | None
    gradient_integrated_j: float | None
    why_not_counted: str
    why_not_integrated: str

    @property
    def joules(self) -> float | None:
        return self.integrated_j if self.counted_j is None else self.counted_j

    @property
    def gradient_j(self) -> float | None:
        return self.gradient_integrated_j if self.counted_j is None else self.gradient_counted_j

    @property
    def reason(self) -> str:
        if self.counted_j is not None:
            return ""
        if self.integrated_j is not None:
            return f"{self.why_not_counted}: its power was integrated"
        return " and ".join(dict.fromkeys((self.why_not_counted, self.why_not_integrated)))


def of_gpus(
    readings: Sequence[Reading], windows: Sequence[Window], gradient: Window | None = None
) -> Energy:
    """Of all of them together. What is known of some GPUs only is not known."""
    metered = [_metered(readings, uuid, windows, gradient) for uuid in gpu_uuids(readings)]
    reason = "; ".join(gpu.reason for gpu in metered if gpu.reason)
    joules = total([gpu.joules for gpu in metered])
    if joules is None:
        return Energy(None, UNAVAILABLE, reason or "no GPU was sampled")
    counted = all(gpu.counted_j is not None for gpu in metered)
    deviation = _deviation_percent(metered) if counted else None
    return Energy(
        joules=joules,
        source=MEASURED if counted else ESTIMATED,
        reason=reason,
        gradient_j=total([gpu.gradient_j for gpu in metered]),
        deviation_percent=deviation,
        doubt=_doubt(deviation),
    )


def of_sockets(
    readings: Sequence[Reading], windows: Sequence[Window], gradient: Window | None = None
) -> Energy:
    """By RAPL's counters: of everything that ran on the machine's sockets."""
    counts = [(reading.at_ns, reading.package_energy_uj) for reading in readings]
    points = [(at_ns, float(count)) for at_ns, count in counts if count is not None]
    microjoules = total([counter_growth(points, window) for window in windows])
    if microjoules is None:
        silent = "the energy counter of the sockets (RAPL) was not read all the time"
        none = "there is no energy counter of the sockets (RAPL) that may be read"
        return Energy(None, UNAVAILABLE, silent if points else none)
    part = _within(gradient, points, counter_growth)
    return Energy(microjoules / 1e6, MEASURED, gradient_j=None if part is None else part / 1e6)


def gpu_uuids(readings: Sequence[Reading]) -> list[str]:
    return sorted({gpu.uuid for reading in readings for gpu in reading.gpus})


def gpu_name(gpu: GpuReading) -> str:
    """As people call it: by its number, an instance by its UUID."""
    return f"{gpu.uuid} of GPU {gpu.index}" if gpu.uuid.startswith("MIG-") else f"GPU {gpu.index}"


def gpu_points(
    readings: Sequence[Reading], uuid: str, figure: Callable[[GpuReading], float | None]
) -> list[Point]:
    found = [(r.at_ns, figure(gpu)) for r in readings for gpu in r.gpus if gpu.uuid == uuid]
    return [(at_ns, value) for at_ns, value in found if value is not None]


def total(parts: Sequence[float | None]) -> float | None:
    """None if there are no parts, or one is not known."""
    known = [part for part in parts if part is not None]
    return sum(known) if known and len(known) == len(parts) else None


def _metered(
    readings: Sequence[Reading], uuid: str, windows: Sequence[Window], gradient: Window | None
) -> _Metered:
    told = [gpu for reading in readings for gpu in reading.gpus if gpu.uuid == uuid]
    counts = gpu_points(readings, uuid, lambda gpu: gpu.energy_mj)
    joules = [(at_ns, count / 1000) for at_ns, count in counts]
    watts = gpu_points(readings, uuid, lambda gpu: gpu.power_w)
    name = gpu_name(told[-1])
    return _Metered(
        counted_j=total([counter_growth(joules, window) for window in windows]),
        integrated_j=total([integral(watts, window) for window in windows]),
        gradient_counted_j=_within(gradient, joules, counter_growth),
        gradient_integrated_j=_within(gradient, watts, integral),
        why_not_counted=_why_not_counted(name, told, joules, windows),
        why_not_integrated=_why_not_integrated(name, told, watts),
    )


def _within(
    window: Window | None,
    points: Sequence[Point],
    reckon: Callable[[Sequence[Point], Window], float | None],
) -> float | None:
    """None also of a window that is too short to tell."""
    return reckon(points, window) if window and is_resolved(points, window) else None


def _why_not_counted(
    name: str, told: Sequence[GpuReading], points: Sequence[Point], windows: Sequence[Window]
) -> str:
    if any(fell(points, window) for window in windows):
        return f"the energy counter of {name} began anew, as after a reset"
    if points:
        return _silent(name, told, "energy counter")
    return _silent(name, told, "") or f"{name} has no energy counter"


def _why_not_integrated(name: str, told: Sequence[GpuReading], points: Sequence[Point]) -> str:
    if points:
        return _silent(name, told, "power meter")
    return _silent(name, told, "") or f"{name} tells no power"


def _silent(name: str, told: Sequence[GpuReading], meter: str) -> str:
    """Empty: nothing is known against it."""
    if any(gpu.lost for gpu in told):
        return f"{name} was lost"
    if told[-1].uuid.startswith("MIG-"):
        return f"{name} has no meter of its own"
    return f"the {meter} of {name} was silent for too long" if meter else ""


def _deviation_percent(metered: Sequence[_Metered]) -> float | None:
    counted = total([gpu.counted_j for gpu in metered])
    integrated = total([gpu.integrated_j for gpu in metered])
    if not counted or integrated is None:
        return None
    return 100 * (integrated - counted) / counted


def _doubt(deviation_percent: float | None) -> str:
    if deviation_percent is None or abs(deviation_percent) <= TOLERATED_DEVIATION_PERCENT:
        return ""
    more = "more" if deviation_percent > 0 else "less"
    return f"power sums up to {abs(deviation_percent):.0f} % {more} energy than the GPU's counter"
