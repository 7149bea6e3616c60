"""Checks of memory: how much is free, and how the kernel manages it."""

import re

from velodrome.agents.doctor.finding import DoctorFinding, Subject
from velodrome.agents.doctor.proc_sys_files import Kernel

HUGE_PAGES = "sys/kernel/mm/transparent_hugepage/enabled"
GIB = 2**30
LOW_SWAPPINESS = 10

FREE = Subject("free memory", "without enough memory a task is killed, or measures the disk")
SWAP = Subject("swap in use", "swapped-out memory is read from disk when it is used")
SWAPPINESS = Subject("swappiness", "a high value makes the kernel swap out memory that is in use")
HUGE = Subject(
    "transparent huge pages",
    "with `always` the kernel makes huge pages in the background, at unpredictable times",
)
NODES = Subject(
    "NUMA nodes", "memory of another node is slower; a task gets cores of one node if possible"
)
BALANCING = Subject(
    "NUMA balancing",
    "it unmaps and moves pages while a task is timed",
)


def check_free_memory(kernel: Kernel, limit_bytes: int, needed_bytes: int) -> DoctorFinding:
    """Check free memory. limit_bytes: of memory and control group; needed_bytes: a large task's."""
    available_kib = kernel.field("proc/meminfo", "MemAvailable")
    if available_kib is None:
        return FREE.unknown("the kernel does not state it")
    available = available_kib * 1024
    seen = f"{available / GIB:.1f} of {limit_bytes / GIB:.1f} GiB that this process may use"
    if min(available, limit_bytes or available) >= needed_bytes:
        return FREE.fine(seen)
    needed = f"{needed_bytes / GIB:.0f} GiB"
    return FREE.warning(
        seen, f"end large processes (ps aux --sort=-rss): large models need {needed}"
    )


def check_swap(kernel: Kernel) -> DoctorFinding:
    """Check that no swap is used."""
    total = kernel.field("proc/meminfo", "SwapTotal")
    unused = kernel.field("proc/meminfo", "SwapFree")
    if total is None or unused is None:
        return SWAP.unknown("the kernel does not state it")
    if total == 0:
        return SWAP.fine("no swap")
    seen = f"{(total - unused) / 1024:.0f} of {total / 1024:.0f} MiB"
    return SWAP.warning(seen, "sudo swapoff -a") if total > unused else SWAP.fine(seen)


def check_swappiness(kernel: Kernel) -> DoctorFinding:
    """Check the kernel's tendency to swap."""
    value = kernel.number("proc/sys/vm/swappiness")
    total = kernel.field("proc/meminfo", "SwapTotal")
    if value is None or total is None:
        return SWAPPINESS.unknown("the kernel does not state it")
    if total == 0:
        return SWAPPINESS.fine(f"{value}, and no swap")
    if value <= LOW_SWAPPINESS:
        return SWAPPINESS.fine(str(value))
    return SWAPPINESS.warning(str(value), "sudo sysctl vm.swappiness=1")


def check_huge_pages(kernel: Kernel) -> DoctorFinding:
    """Check transparent huge pages."""
    chosen = re.search(r"\[(\w+)\]", kernel.text(HUGE_PAGES) or "")
    if chosen is None:
        return HUGE.unknown("the kernel does not state it")
    if chosen[1] != "always":
        return HUGE.fine(chosen[1])
    return HUGE.warning("always", f"echo madvise | sudo tee /{HUGE_PAGES}")


def check_numa_nodes(kernel: Kernel) -> DoctorFinding:
    """Count NUMA nodes."""
    count = len(list(kernel.root.glob("sys/devices/system/node/node[0-9]*")))
    return NODES.fine(str(count)) if count else NODES.unknown("the kernel does not state it")


def check_numa_balancing(kernel: Kernel) -> DoctorFinding:
    """Check automatic NUMA balancing."""
    value = kernel.number("proc/sys/kernel/numa_balancing")
    count = len(list(kernel.root.glob("sys/devices/system/node/node[0-9]*")))
    if value is None:
        return BALANCING.unknown("the kernel does not state it")
    if value == 0 or count == 1:
        return BALANCING.fine("off" if value == 0 else "on, with one node")
    return BALANCING.warning("on", "sudo sysctl kernel.numa_balancing=0")
