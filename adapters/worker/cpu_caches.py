"""The size of this machine's processor caches, as the kernel reports it."""

import glob

SIZES = "/sys/devices/system/cpu/cpu*/cache/index*/size"
UNITS = {"K": 2**10, "M": 2**20, "G": 2**30}


def read_largest_bytes() -> int:
    """Return the size of the largest single cache; 0 if the kernel does not report it."""
    return max([_bytes(path) for path in glob.glob(SIZES)] or [0])


def _bytes(path: str) -> int:
    try:
        with open(path) as file:
            text = file.read().strip()
        return int(text[:-1]) * UNITS[text[-1]] if text[-1:] in UNITS else int(text)
    except (OSError, ValueError):
        return 0
