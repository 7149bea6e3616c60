"""Interference on a task's GPUs: other processes, throttling, a falling clock."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from velodrome.adapters.protocol import TIMED_PHASES
from velodrome.agents.measurement import GpuProcess, GpuReading, Reading
from velodrome.agents.safe_text import sanitize_line
from velodrome.agents.sampling import gpu_throttling
from velodrome.agents.sampling import interference_thresholds as bounds
from velodrome.agents.sampling.energy import gpu_name
from velodrome.agents.sampling.interference_finding import InterferenceFinding, Phrase, Severity

EARLY = ("", "import")  # before the worker uses its GPUs
BUSY_PERCENT = 10.0  # in each early reading; the driver averages over up to a second
NAMED = 3
NAME_LENGTH = 15

PhasedReading = tuple[str, GpuReading]  # the phase, and one GPU then


def find_gpu_interference(readings: Sequence[Reading]) -> tuple[InterferenceFinding, ...]:
    """Find interference in readings with known phases; nothing for a CPU task.

    Flagged: other compute processes before or while the task is timed; a GPU that is hot, short of
    power or lost; an SM clock that falls within a phase. Reported: a power cap, and a driver that
    does not state whether other processes were there.
    """
    return tuple(
        finding
        for gpu in _group_by_gpu(readings)
        for check in (
            _find_other_processes,
            _find_hidden_processes,
            _find_throttling,
            _find_power_caps,
            _find_clock_drops,
            _find_loss,
        )
        for finding in check(gpu)
    )


def _group_by_gpu(readings: Sequence[Reading]) -> list[list[PhasedReading]]:
    """Group the readings until the end of timing by GPU."""
    ends = [count for count, reading in enumerate(readings, 1) if reading.phase in TIMED_PHASES]
    by_uuid: dict[str, list[PhasedReading]] = {}
    for reading in readings[: ends[-1]] if ends else readings:
        for gpu in reading.gpus:
            by_uuid.setdefault(gpu.uuid, []).append((reading.phase, gpu))
    return [by_uuid[uuid] for uuid in sorted(by_uuid)]


def _find_other_processes(readings: Sequence[PhasedReading]) -> Iterator[InterferenceFinding]:
    first = next(
        (at for at, (phase, _) in enumerate(readings) if phase in TIMED_PHASES), len(readings)
    )
    early = any(gpu.other_processes for _, gpu in readings[:first])
    timed = any(gpu.other_processes for _, gpu in readings[first:])
    when = "before and while" if timed and early else "while" if timed else "before"
    processes = _largest_first(
        process for _, gpu in readings for process in gpu.other_processes or ()
    )
    if processes:
        names = ", ".join(_describe(process) for process in processes[:NAMED])
        rest = f" and {len(processes) - NAMED} more" if len(processes) > NAMED else ""
        yield InterferenceFinding(
            f"{Phrase.GPU_PROCESSES} {_name(readings)} {when} it was timed: {names}{rest}"
        )


def _largest_first(processes: Iterator[GpuProcess]) -> list[GpuProcess]:
    """List each process once, with its largest memory."""
    most: dict[int, GpuProcess] = {}
    for process in processes:
        largest = most.get(process.pid, process)
        most[process.pid] = max(largest, process, key=lambda each: each.memory_bytes or 0)
    return sorted(most.values(), key=lambda each: (-(each.memory_bytes or 0), each.pid))


def _describe(process: GpuProcess) -> str:
    name = sanitize_line(process.name, NAME_LENGTH) or "ended"
    used = process.memory_bytes
    size = "" if used is None else f", {used / 2**20:.0f} MiB"
    return f"pid {process.pid} ({name}{size})"


def _find_hidden_processes(readings: Sequence[PhasedReading]) -> Iterator[InterferenceFinding]:
    """Find others' work before the task's own, if the driver hides processes."""
    if any(gpu.other_processes is not None or gpu.lost for _, gpu in readings):
        return
    early = [gpu.percent for phase, gpu in readings if phase in EARLY and gpu.percent is not None]
    if len(early) >= bounds.FEWEST_READINGS and min(early) > BUSY_PERCENT:
        yield InterferenceFinding(
            f"{_name(readings)} was at least {min(early):.0f} % {Phrase.GPU_BUSY}"
        )
    else:
        text = f"the driver of {_name(readings)} does not state whether other processes used it"
        yield InterferenceFinding(text, Severity.REPORTED)


def _find_throttling(readings: Sequence[PhasedReading]) -> Iterator[InterferenceFinding]:
    reasons = _timed_throttle_reasons(readings)
    specific = sum(gpu_throttling.FLAGGED[1:])
    for bit in gpu_throttling.FLAGGED:
        active = [bool(bits & bit) for bits in reasons]
        if bit == gpu_throttling.HARDWARE_SLOWDOWN:
            active = [bool(bits & bit) and not bits & specific for bits in reasons]
            # The driver also sets it briefly when the power state changes (nvml.h).
            if not any(first and second for first, second in pairwise(active)):
                continue
        if any(active):
            yield InterferenceFinding(
                f"{_throttling_text(readings, bit)} in {sum(active)} of {len(active)} readings"
            )


def _find_power_caps(readings: Sequence[PhasedReading]) -> Iterator[InterferenceFinding]:
    reasons = _timed_throttle_reasons(readings)
    for bit in gpu_throttling.REPORTED:
        active = sum(bool(bits & bit) for bits in reasons)
        if active:
            text = f"{_throttling_text(readings, bit)} in {active} of {len(reasons)} readings"
            yield InterferenceFinding(text, Severity.REPORTED)


def _throttling_text(readings: Sequence[PhasedReading], bit: int) -> str:
    return f"{_name(readings)} {Phrase.GPU_THROTTLING} {gpu_throttling.WORDS[bit]}"


def _find_clock_drops(readings: Sequence[PhasedReading]) -> Iterator[InterferenceFinding]:
    """Compare within a phase: phases draw different power."""
    for phase in TIMED_PHASES:
        clocks = sorted(
            gpu.sm_mhz for at, gpu in readings if at == phase and gpu.sm_mhz and not _is_idle(gpu)
        )
        if len(clocks) < bounds.FEWEST_READINGS:
            continue
        low, high = clocks[int(len(clocks) * bounds.CLOCK_SHARE)], clocks[-1]
        if low < high * (1 - bounds.CLOCK_DROP):
            yield InterferenceFinding(
                f"{Phrase.GPU_CLOCK} {_name(readings)} fell from {high} to {low} MHz during {phase}"
            )


def _find_loss(readings: Sequence[PhasedReading]) -> Iterator[InterferenceFinding]:
    if any(gpu.lost for _, gpu in readings):
        yield InterferenceFinding(f"{_name(readings)} {Phrase.GPU_LOSS}")


def _timed_throttle_reasons(readings: Sequence[PhasedReading]) -> list[int]:
    found = [gpu.throttle_reasons for phase, gpu in readings if phase in TIMED_PHASES]
    return [bits for bits in found if bits is not None]


def _is_idle(gpu: GpuReading) -> bool:
    return bool((gpu.throttle_reasons or 0) & gpu_throttling.IDLE)


def _name(readings: Sequence[PhasedReading]) -> str:
    return gpu_name(readings[0][1])
