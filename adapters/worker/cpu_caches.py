"""The caches of this machine's processors, as the kernel has them."""

import glob

SIZES = "/sys/devices/system/cpu/cpu*/cache/index*/size"
UNITS = {"K": 2**10, "M": 2**20, "G": 2**30}


def largest_bytes() -> int:
    """Of the largest single cache; 0 where the kernel does not say."""
    return max([_bytes(path) for path in glob.glob(SIZES)] or [0])


def _bytes(path: str) -> int:
    try:
        with open(path) as file:
            text = file.read().strip()
        return int(text[:-1]) * UNITS[text[-1]] if text[-1:] in UNITS else int(text)
    except (OSError, ValueError):
        return 0
