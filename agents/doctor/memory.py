"""Checks of memory: how much is free, and how the kernel manages it."""

import re

from velodrome.agents.doctor.finding import DoctorFinding, Subject
from velodrome.agents.doctor.proc_sys_files import Kernel

HUGE_PAGES = "sys/kernel/mm/transparent_hugepage/enabled"
GIB = 2**30
CALM_SWAPPINESS = 10

FREE = Subject(
    "free memory", "a task for which there is too little is killed, or measures the disk"
)
SWAP = Subject("swap in use", "memory that was swapped out is read from disk when it is touched")
SWAPPINESS = Subject("swappiness", "the higher, the sooner memory that is in use is swapped out")
HUGE = Subject(
    "transparent huge pages",
    "with `always` the kernel makes huge pages in the background, at moments of its own choosing",
)
NODES = Subject(
    "NUMA nodes", "memory of another node is slower; tasks get cores of one if they can"
)
BALANCING = Subject(
    "NUMA balancing",
    "it unmaps pages to see who uses them, and moves them, while a task is timed",
)


def free(kernel: Kernel, limit_bytes: int, needed_bytes: int) -> DoctorFinding:
    """Check free memory. limit_bytes: of memory and control group; needed_bytes: a large task's."""
    available_kib = kernel.field("proc/meminfo", "MemAvailable")
    if available_kib is None:
        return FREE.unknown("this kernel does not say")
    available = available_kib * 1024
    seen = f"{available / GIB:.1f} of {limit_bytes / GIB:.1f} GiB that we may use"
    if min(available, limit_bytes or available) >= needed_bytes:
        return FREE.fine(seen)
    needed = f"{needed_bytes / GIB:.0f} GiB"
    return FREE.warning(seen, f"end what holds it (ps aux --sort=-rss): large models want {needed}")


def swap(kernel: Kernel) -> DoctorFinding:
    """Check that no swap is used."""
    total = kernel.field("proc/meminfo", "SwapTotal")
    unused = kernel.field("proc/meminfo", "SwapFree")
    if total is None or unused is None:
        return SWAP.unknown("this kernel does not say")
    if total == 0:
        return SWAP.fine("there is none")
    seen = f"{(total - unused) / 1024:.0f} of {total / 1024:.0f} MiB"
    return SWAP.warning(seen, "sudo swapoff -a") if total > unused else SWAP.fine(seen)


def swappiness(kernel: Kernel) -> DoctorFinding:
    """Check the kernel's tendency to swap."""
    value = kernel.number("proc/sys/vm/swappiness")
    total = kernel.field("proc/meminfo", "SwapTotal")
    if value is None or total is None:
        return SWAPPINESS.unknown("this kernel does not say")
    if total == 0:
        return SWAPPINESS.fine(f"{value}, and no swap")
    if value <= CALM_SWAPPINESS:
        return SWAPPINESS.fine(str(value))
    return SWAPPINESS.warning(str(value), "sudo sysctl vm.swappiness=1")


def huge_pages(kernel: Kernel) -> DoctorFinding:
    """Check transparent huge pages."""
    chosen = re.search(r"\[(\w+)\]", kernel.text(HUGE_PAGES) or "")
    if chosen is None:
        return HUGE.unknown("this kernel does not say")
    if chosen[1] != "always":
        return HUGE.fine(chosen[1])
    return HUGE.warning("always", f"echo madvise | sudo tee /{HUGE_PAGES}")


def numa_nodes(kernel: Kernel) -> DoctorFinding:
    """Count NUMA nodes."""
    count = len(list(kernel.root.glob("sys/devices/system/node/node[0-9]*")))
    return NODES.fine(str(count)) if count else NODES.unknown("this kernel does not say")


def numa_balancing(kernel: Kernel) -> DoctorFinding:
    """Check automatic NUMA balancing."""
    value = kernel.number("proc/sys/kernel/numa_balancing")
    count = len(list(kernel.root.glob("sys/devices/system/node/node[0-9]*")))
    if value is None:
        return BALANCING.unknown("this kernel does not say")
    if value == 0 or count == 1:
        return BALANCING.fine("off" if value == 0 else "on, and there is one node")
    return BALANCING.warning("on", "sudo sysctl kernel.numa_balancing=0")
