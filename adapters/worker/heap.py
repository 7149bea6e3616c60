"""Memory that the C library keeps when it is freed, for the next call to use again."""

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
# The most that glibc comes to by itself, as blocks of that size are freed: mallopt(3). Blocks below
# are taken from the heap, and twice as much stays on its top.
MMAP_BYTES = 2**25


def keep_freed_memory() -> None:
    """Set the thresholds to which glibc would move in time, so that no call waits for that.

    It begins with 128 KiB: a larger block is mapped for each call, cleared by the kernel page by
    page, and unmapped. A gradient of auto-encoder layer 1 in NumPy took 2.4 times as long where
    nothing before it had freed a block of its size. So times would depend on what a proof
    allocates. The bare loops of benchmarks/ do the same.
    """
    c_library = ctypes.CDLL(None)
    if hasattr(c_library, "mallopt"):
        c_library.mallopt(M_MMAP_THRESHOLD, MMAP_BYTES)
        c_library.mallopt(M_TRIM_THRESHOLD, 2 * MMAP_BYTES)
