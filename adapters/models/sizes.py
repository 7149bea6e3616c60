"""Sizes of collective operations and of copies, in bytes and in the names of their models."""

from typing import Tuple

VALUE_BYTES = 4  # float32
SIZES = tuple(4**power for power in range(5, 16))  # 1 KiB to 1 GiB


def split_size(size_bytes: int) -> Tuple[int, str]:
    """Split a size into a number and the largest unit that divides it."""
    for unit, unit_bytes in (("GiB", 2**30), ("MiB", 2**20)):
        if size_bytes % unit_bytes == 0:
            return size_bytes // unit_bytes, unit
    return size_bytes // 2**10, "KiB"
