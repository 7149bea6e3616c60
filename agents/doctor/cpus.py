"""Checks of the CPUs available to this process, and of its clock source."""

from collections.abc import Collection

from velodrome.agents.cpusets import cpu_numbers
from velodrome.agents.doctor.finding import DoctorFinding, Subject, join_names
from velodrome.agents.doctor.proc_sys_files import Kernel

CPUS = "sys/devices/system/cpu"
CLOCKS = "sys/devices/system/clocksource/clocksource0"
# A process reads these without entering the kernel: arch/*/include/asm/vdso/clocksource.h.
FAST_CLOCKS = ("tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "arch_sys_counter")

SIBLINGS = Subject(
    "SMT siblings",
    "a task uses one thread of a core, and another process on the sibling thread slows it",
)
AFFINITY = Subject("CPU affinity", "a task that needs all cores of the machine does not get them")
QUOTA = Subject(
    "CPU quota", "the kernel stops threads beyond a control group's quota in every period"
)
MACHINE = Subject(
    "virtualization",
    "a guest does not know who shares its cores or at which clock they run",
)
CLOCK = Subject(
    "clock source",
    "some clock sources cost a system call at each reading",
)


def check_siblings(kernel: Kernel, allowed: Collection[int]) -> DoctorFinding:
    """Check that no other process may run on a sibling thread of our cores."""
    texts = kernel.texts(f"{CPUS}/cpu[0-9]*/topology/thread_siblings_list")
    cores = {cpu_numbers(text) for text in texts.values()}
    if not cores:
        return SIBLINGS.unknown("the kernel does not state which CPUs share a core")
    most = max(len(core) for core in cores)
    if most == 1:
        return SIBLINGS.fine("one thread per core")
    own = set(allowed)
    foreign = sorted(cpu for core in cores if core & own for cpu in core - own)
    if not foreign:
        return SIBLINGS.fine(f"{most} threads per core, all of them ours")
    seen = f"CPUs that others may use beside ours: {join_names([str(cpu) for cpu in foreign])}"
    mend = f"give whole cores (taskset, --cpuset-cpus), or: echo off | sudo tee /{CPUS}/smt/control"
    return SIBLINGS.warning(seen, mend)


def check_affinity(kernel: Kernel, allowed: Collection[int]) -> DoctorFinding:
    """Check that all CPUs are available."""
    online = kernel.online()
    if not online:
        return AFFINITY.unknown(f"{len(allowed)} CPUs; the machine's number is unknown")
    if online <= set(allowed):
        return AFFINITY.fine(f"all {len(online)} CPUs")
    seen = f"{len(allowed)} of {len(online)} CPUs"
    return AFFINITY.warning(seen, f"taskset -c {_range(online)} velodrome ..., or a wider cpuset")


def check_quota(seconds_per_second: float, cpus: int) -> DoctorFinding:
    """Check the quota (cgroups.cpu_quota). cpus: those that this process may run on."""
    if seconds_per_second >= cpus:
        has_none = seconds_per_second == float("inf")
        return QUOTA.fine("none" if has_none else f"{seconds_per_second:g} of {cpus} CPUs")
    mend = f"start the container with --cpus {cpus} or none, or set cpu.max of its group to max"
    return QUOTA.warning(f"{seconds_per_second:g} of {cpus} CPUs' time", mend)


def check_virtualization(kernel: Kernel) -> DoctorFinding:
    """Check for a guest, whose host is unknown; a container's numbers are the machine's."""
    flags = (kernel.text("proc/cpuinfo") or "").split("\n\n", 1)[0].split()
    marks = (".dockerenv", "run/.containerenv")
    inside = any((kernel.root / mark).exists() for mark in marks)
    container = "inside a container" if inside else ""
    if "hypervisor" in flags:
        maker = kernel.text("sys/class/dmi/id/sys_vendor")
        guest = f"a virtual machine ({maker})" if maker else "a virtual machine"
        return MACHINE.unknown(", ".join(filter(None, (guest, container))))
    if "flags" not in flags:  # ARM has no such flag
        return MACHINE.unknown(container or "the kernel does not state it")
    return MACHINE.fine(container or "none detected")


def check_clock_source(kernel: Kernel) -> DoctorFinding:
    """Check that reading the clock needs no system call."""
    current = kernel.text(f"{CLOCKS}/current_clocksource")
    if current is None:
        return CLOCK.unknown("the kernel does not state it")
    if current in FAST_CLOCKS:
        return CLOCK.fine(current)
    others = (kernel.text(f"{CLOCKS}/available_clocksource") or "").split()
    fast = next((name for name in FAST_CLOCKS if name in others), None)
    if fast:
        mend = f"echo {fast} | sudo tee /{CLOCKS}/current_clocksource"
    else:
        mend = "`dmesg | grep -i clocksource` shows why the kernel does not use the CPU's own"
    return CLOCK.warning(current, mend)


def _range(cpus: Collection[int]) -> str:
    first, last = min(cpus), max(cpus)
    whole = len(cpus) == last - first + 1
    return f"{first}-{last}" if whole else ",".join(str(cpu) for cpu in sorted(cpus))
