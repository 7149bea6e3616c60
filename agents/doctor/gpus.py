"""Checks of GPU settings and states that reduce a GPU's speed."""

from collections.abc import Callable, Mapping, Sequence

from velodrome.agents.doctor.finding import DoctorFinding, Subject, join_names
from velodrome.agents.doctor.gpu_states import GpuState, GpuStates
from velodrome.agents.environments.accelerators import rank
from velodrome.agents.gpu_allotment import VARIABLE, GpuAllotment
from velodrome.agents.sampling.gpu_throttling import FLAGGED, POWER_CAP, WORDS

PROHIBITED = 2  # nvmlComputeMode_t in nvml.h
MODES = ("default", "exclusive thread", "prohibited", "exclusive process")
# Idle, clocks that the user set, sync boost and display are not slowdowns.
SLOWDOWNS = {bit: WORDS[bit] for bit in (POWER_CAP, *FLAGGED)}
NOT_STATED = "the driver does not state it"

DRIVER = Subject(
    "GPU driver", "a framework built for a newer CUDA than the driver runs does not start"
)
ALLOTMENT = Subject("GPU allotment", "the GPUs of others are neither measured nor checked")
PERSISTENCE = Subject(
    "GPU persistence", "without it the driver starts and stops with each process, which is slow"
)
ECC = Subject("GPU ECC", "ECC takes memory and bandwidth: compare only GPUs of the same setting")
MODE = Subject("GPU compute mode", "a prohibited GPU runs nothing at all")
CLOCKS = Subject("GPU clocks", "clocks below the default make every task slower")
POWER = Subject("GPU power limit", "a limit below the default lowers the clock sooner")
MIG = Subject(
    "GPU partitions (MIG)",
    "only its parts can be used, and the driver does not state their utilization and energy",
)
OTHERS = Subject("GPU processes", "other processes on a GPU slow a task")
SLOWED = Subject("GPU throttling", "a throttled GPU is slower than it can be")


def check_gpus(
    states: GpuStates | None,
    locks: Mapping[str, Sequence[Sequence[str]]],
    allotment: GpuAllotment | None = None,
) -> list[DoctorFinding]:
    """Run all GPU checks. locks: framework -> the accelerators of each of its GPU locks.

    allotment: GPUs that this process was given; None: all. Those of others are not checked.
    """
    if states is None:
        return [DRIVER.fine("no NVIDIA driver: no GPU of NVIDIA is measured here")]
    gpus = _list_given(states.gpus, allotment)
    found = [check_driver(states, locks)]
    if states.gpus and allotment and allotment.note:
        found.append(check_allotment(allotment))
    return [*found, *_check_states(gpus, sees_all=states.sees_all)] if gpus else found


def _list_given(gpus: Sequence[GpuState], allotment: GpuAllotment | None) -> list[GpuState]:
    if allotment is None:
        return list(gpus)
    given = {gpu.index for gpu in allotment.gpus}
    return [gpu for gpu in gpus if gpu.index in given]


def check_allotment(allotment: GpuAllotment) -> DoctorFinding:
    """Check that an allotment that leaves out GPUs leaves at least one."""
    if allotment.gpus:
        return ALLOTMENT.fine(allotment.note)
    return ALLOTMENT.warning(
        allotment.note, f"ask the workload manager for a GPU, or unset {VARIABLE}"
    )


def _check_states(gpus: Sequence[GpuState], *, sees_all: bool) -> list[DoctorFinding]:
    return [
        check_persistence(gpus),
        check_ecc(gpus),
        check_compute_mode(gpus),
        check_clocks(gpus),
        check_power_limit(gpus),
        check_mig(gpus),
        check_processes(gpus, sees_all=sees_all),
        check_throttling(gpus),
    ]


def check_driver(states: GpuStates, locks: Mapping[str, Sequence[Sequence[str]]]) -> DoctorFinding:
    """Check which frameworks have a lock for this driver. Those for other platforms are named."""
    if states.faults:
        seen = join_names([f"{fault.whose} {fault.problem}" for fault in states.faults])
        mends = dict.fromkeys(fault.mend for fault in states.faults)
        return DRIVER.warning(seen, ". ".join(mends))
    if not states.gpus:
        return DRIVER.warning(f"{states.driver}, and it shows no GPU", "see nvidia-smi")
    if states.cuda_major is None:
        return DRIVER.unknown(f"{states.driver}, CUDA version unknown")
    accelerator = f"cuda{states.cuda_major}"
    served = [name for name, all_ in locks.items() if _is_served(accelerator, all_)]
    left_out = [name for name in locks if locks[name] and name not in served]
    elsewhere = [name for name in locks if not locks[name]]
    seen = f"{states.driver}, CUDA {states.cuda_major}: {join_names(served) or 'no framework'}"
    if elsewhere:
        seen += f"; not locked for GPUs on this platform: {join_names(elsewhere)}"
    if not left_out:
        return DRIVER.fine(seen)
    wanted = sorted({one for name in left_out for lock in locks[name] for one in lock})
    return DRIVER.warning(
        f"{seen}; no lock for: {join_names(left_out)}",
        f"install a newer driver (https://docs.nvidia.com/deploy/cuda-compatibility): the locks "
        f"need {join_names(wanted)}",
    )


def check_persistence(gpus: Sequence[GpuState]) -> DoctorFinding:
    off = [gpu for gpu in gpus if gpu.is_persistent is False]
    if off:
        return PERSISTENCE.warning(f"off on {_names(off)}", f"sudo nvidia-smi -i {_ids(off)} -pm 1")
    return _describe(PERSISTENCE, gpus, lambda gpu: gpu.is_persistent, lambda on: "on")


def check_ecc(gpus: Sequence[GpuState]) -> DoctorFinding:
    """Check ECC: a change pending until a restart, or different GPUs, are warnings."""
    pending = [gpu for gpu in gpus if gpu.ecc and gpu.ecc[0] != gpu.ecc[1]]
    if pending:
        seen = f"{_names(pending)}: changes at the next start"
        return ECC.warning(seen, f"sudo nvidia-smi -i {_ids(pending)} --gpu-reset, or restart")
    off = [gpu for gpu in gpus if gpu.ecc == (False, False)]
    on = [gpu for gpu in gpus if gpu.ecc == (True, True)]
    alike = {gpu.name for gpu in off} & {gpu.name for gpu in on}
    if alike:
        seen = f"off on {_names(off)}, on on {_names(on)}"
        return ECC.warning(seen, f"sudo nvidia-smi -i {_ids(off)} -e 1, then restart")
    return _describe(ECC, gpus, lambda gpu: gpu.ecc, lambda pair: "on" if pair[0] else "off")


def check_compute_mode(gpus: Sequence[GpuState]) -> DoctorFinding:
    prohibited = [gpu for gpu in gpus if gpu.compute_mode == PROHIBITED]
    if prohibited:
        mend = f"sudo nvidia-smi -i {_ids(prohibited)} -c DEFAULT"
        return MODE.warning(f"prohibited on {_names(prohibited)}", mend)
    return _describe(MODE, gpus, lambda gpu: gpu.compute_mode, _mode)


def check_clocks(gpus: Sequence[GpuState]) -> DoctorFinding:
    low = [
        gpu
        for gpu in gpus
        if gpu.clock_mhz and gpu.default_clock_mhz and gpu.clock_mhz < gpu.default_clock_mhz
    ]
    if low:
        parts = [f"GPU {gpu.index} {gpu.clock_mhz} of {gpu.default_clock_mhz} MHz" for gpu in low]
        return CLOCKS.warning(join_names(parts), f"sudo nvidia-smi -i {_ids(low)} -rac")
    known = [gpu for gpu in gpus if gpu.default_clock_mhz]
    return _describe(CLOCKS, known or gpus, lambda gpu: gpu.clock_mhz, lambda mhz: f"{mhz} MHz")


def check_power_limit(gpus: Sequence[GpuState]) -> DoctorFinding:
    low = [
        gpu
        for gpu in gpus
        if gpu.limit_w and gpu.default_limit_w and gpu.limit_w < gpu.default_limit_w
    ]
    if low:
        parts = [f"GPU {gpu.index} {gpu.limit_w:.0f} of {gpu.default_limit_w:.0f} W" for gpu in low]
        commands = [f"sudo nvidia-smi -i {gpu.index} -pl {gpu.default_limit_w:.0f}" for gpu in low]
        return POWER.warning(join_names(parts), "; ".join(commands))
    if any(gpu.default_limit_w is None or gpu.limit_w is None for gpu in gpus):
        return POWER.unknown(NOT_STATED)
    return _describe(POWER, gpus, lambda gpu: gpu.limit_w, lambda watts: f"{watts:.0f} W")


def check_mig(gpus: Sequence[GpuState]) -> DoctorFinding:
    partitioned = [gpu for gpu in gpus if gpu.mig and any(gpu.mig)]
    if partitioned:
        mend = f"sudo nvidia-smi -i {_ids(partitioned)} -mig 0"
        return MIG.warning(f"on, now or after the next reset: {_names(partitioned)}", mend)
    if any(gpu.mig is None for gpu in gpus):
        return MIG.unknown(f"{NOT_STATED}; some GPUs have no such mode")
    return MIG.fine("off")


def check_processes(gpus: Sequence[GpuState], *, sees_all: bool) -> DoctorFinding:
    used = [gpu for gpu in gpus if gpu.pids]
    if used:
        parts = [f"GPU {gpu.index}: {_pids(gpu.pids or ())}" for gpu in used]
        return OTHERS.warning(
            join_names(parts), "end them, or ask their owners to (nvidia-smi names them)"
        )
    if any(gpu.pids is None for gpu in gpus):
        return OTHERS.unknown(NOT_STATED)
    if not sees_all:
        return OTHERS.unknown("none visible, but a container does not see the processes of others")
    return OTHERS.fine("none")


def check_throttling(gpus: Sequence[GpuState]) -> DoctorFinding:
    known = [(gpu, gpu.throttle_reasons) for gpu in gpus if gpu.throttle_reasons is not None]
    slowed = [(gpu, names) for gpu, reasons in known if (names := _slowdowns(reasons))]
    if slowed:
        seen = join_names([f"GPU {gpu.index}: {', '.join(names)}" for gpu, names in slowed])
        return SLOWED.warning(
            seen, "let it cool down, end its processes; see nvidia-smi -q -d PERFORMANCE"
        )
    return SLOWED.fine("none now") if len(known) == len(gpus) else SLOWED.unknown(NOT_STATED)


def _describe(
    subject: Subject,
    gpus: Sequence[GpuState],
    read: Callable[[GpuState], object],
    describe: Callable[..., str],
) -> DoctorFinding:
    """Report fine with the described values, unknown if one of them is not stated."""
    values = [read(gpu) for gpu in gpus]
    if None in values:
        return subject.unknown(NOT_STATED)
    return subject.fine(join_names(list(dict.fromkeys(describe(value) for value in values))))


def _is_served(accelerator: str, locks: Sequence[Sequence[str]]) -> bool:
    return any(rank(accelerator, lock) is not None for lock in locks)


def _slowdowns(reasons: int) -> list[str]:
    return [name for bit, name in SLOWDOWNS.items() if reasons & bit]


def _mode(number: int) -> str:
    return MODES[number] if number < len(MODES) else f"mode {number}"


def _names(gpus: Sequence[GpuState]) -> str:
    return "GPU " + join_names([str(gpu.index) for gpu in gpus])


def _ids(gpus: Sequence[GpuState]) -> str:
    return ",".join(str(gpu.index) for gpu in gpus)


def _pids(pids: Sequence[int]) -> str:
    return "pid " + join_names([str(pid) for pid in pids])
