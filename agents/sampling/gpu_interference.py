"""What disturbed a task's GPUs, told from their readings: others, throttling, a falling clock."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from velodrome.agents.isolation.log_tail import one_line
from velodrome.agents.measurement import GpuProcess, GpuReading, Reading
from velodrome.agents.sampling import gpu_throttling
from velodrome.agents.sampling import interference_thresholds as bounds
from velodrome.agents.sampling.energy import gpu_name
from velodrome.agents.sampling.interference_finding import Disturbance, Weight
from velodrome.agents.sampling.utilization import TIMED

EARLY = ("", "import")  # before the worker asks its GPUs for anything
BUSY_PERCENT = 10.0  # of an early GPU, in each reading: the driver's last second rubs off
NAMED = 3
NAME_LENGTH = 15

Seen = tuple[str, GpuReading]  # the phase, and one GPU then


def gpu_disturbances(readings: Sequence[Reading]) -> tuple[Disturbance, ...]:
    """Of readings that know their phase; nothing for a task without a GPU.

    Flagged: others that compute on the GPU, before and while the task is timed; a GPU that is
    hot, short of power or lost; an SM clock that falls within a phase. Reported: a power cap, and
    whether others were there, if that cannot be told.
    """
    return tuple(
        disturbance
        for gpu in _by_gpu(readings)
        for check in (_others, _unseen_others, _need, _design, _clock, _loss)
        for disturbance in check(gpu)
    )


def _by_gpu(readings: Sequence[Reading]) -> list[list[Seen]]:
    """Until the timing ends: what comes later disturbs nothing."""
    ends = [place for place, reading in enumerate(readings, 1) if reading.phase in TIMED]
    found: dict[str, list[Seen]] = {}
    for reading in readings[: ends[-1]] if ends else readings:
        for gpu in reading.gpus:
            found.setdefault(gpu.uuid, []).append((reading.phase, gpu))
    return [found[uuid] for uuid in sorted(found)]


def _others(seen: Sequence[Seen]) -> Iterator[Disturbance]:
    first = next((at for at, (phase, _) in enumerate(seen) if phase in TIMED), len(seen))
    early = any(gpu.foreign for _, gpu in seen[:first])
    timed = any(gpu.foreign for _, gpu in seen[first:])
    when = "before and while" if timed and early else "while" if timed else "before"
    processes = _largest(process for _, gpu in seen for process in gpu.foreign or ())
    if processes:
        told = ", ".join(_told(process) for process in processes[:NAMED])
        more = f" and {len(processes) - NAMED} more" if len(processes) > NAMED else ""
        yield Disturbance(f"others were on {_name(seen)} {when} it was timed: {told}{more}")


def _largest(processes: Iterator[GpuProcess]) -> list[GpuProcess]:
    """Each once, with the most that it held."""
    most: dict[int, GpuProcess] = {}
    for process in processes:
        held = most.get(process.pid, process)
        most[process.pid] = max(held, process, key=lambda one: one.memory_bytes or 0)
    return sorted(most.values(), key=lambda one: (-(one.memory_bytes or 0), one.pid))


def _told(process: GpuProcess) -> str:
    name = one_line(process.name, NAME_LENGTH) or "gone"
    used = process.memory_bytes
    size = "" if used is None else f", {used / 2**20:.0f} MiB"
    return f"pid {process.pid} ({name}{size})"


def _unseen_others(seen: Sequence[Seen]) -> Iterator[Disturbance]:
    """Where the driver does not tell who is there, work before the task's own tells of it."""
    if any(gpu.foreign is not None or gpu.lost for _, gpu in seen):
        return
    early = [gpu.percent for phase, gpu in seen if phase in EARLY and gpu.percent is not None]
    if len(early) >= bounds.FEWEST_READINGS and min(early) > BUSY_PERCENT:
        yield Disturbance(
            f"{_name(seen)} was busy {min(early):.0f} % and more before the task used it"
        )
    else:
        story = f"whether others were on {_name(seen)} is not known: its driver does not tell"
        yield Disturbance(story, Weight.REPORTED)


def _need(seen: Sequence[Seen]) -> Iterator[Disturbance]:
    told = _reasons(seen)
    specific = sum(gpu_throttling.IN_NEED[1:])
    for bit in gpu_throttling.IN_NEED:
        held = [bool(bits & bit) for bits in told]
        if bit == gpu_throttling.HARDWARE_SLOWDOWN:
            held = [bool(bits & bit) and not bits & specific for bits in told]
            # Also told for the instant at which the power state changes (nvml.h).
            if not any(first and second for first, second in pairwise(held)):
                continue
        if any(held):
            yield Disturbance(f"{_slowed(seen, bit)} in {sum(held)} of {len(held)} readings")


def _design(seen: Sequence[Seen]) -> Iterator[Disturbance]:
    told = _reasons(seen)
    for bit in gpu_throttling.BY_DESIGN:
        held = sum(bool(bits & bit) for bits in told)
        if held:
            story = f"{_slowed(seen, bit)} in {held} of {len(told)} readings"
            yield Disturbance(story, Weight.REPORTED)


def _slowed(seen: Sequence[Seen], bit: int) -> str:
    return f"{_name(seen)} was held back by {gpu_throttling.WORDS[bit]}"


def _clock(seen: Sequence[Seen]) -> Iterator[Disturbance]:
    """Phases draw power differently, so each is compared with its own highest."""
    for phase in TIMED:
        clocks = sorted(
            gpu.sm_mhz for at, gpu in seen if at == phase and gpu.sm_mhz and not _is_idle(gpu)
        )
        if len(clocks) < bounds.FEWEST_READINGS:
            continue
        low, high = clocks[int(len(clocks) * bounds.CLOCK_SHARE)], clocks[-1]
        if low < high * (1 - bounds.CLOCK_DROP):
            yield Disturbance(
                f"the SM clock of {_name(seen)} fell from {high} to {low} MHz during {phase}"
            )


def _loss(seen: Sequence[Seen]) -> Iterator[Disturbance]:
    if any(gpu.lost for _, gpu in seen):
        yield Disturbance(f"{_name(seen)} was lost: it answers its driver no more")


def _reasons(seen: Sequence[Seen]) -> list[int]:
    found = [gpu.throttle_reasons for phase, gpu in seen if phase in TIMED]
    return [bits for bits in found if bits is not None]


def _is_idle(gpu: GpuReading) -> bool:
    return bool((gpu.throttle_reasons or 0) & gpu_throttling.IDLE)


def _name(seen: Sequence[Seen]) -> str:
    return gpu_name(seen[0][1])
