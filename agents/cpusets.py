"""The kernel's list format for CPUs: `0-3,8`."""


def cpu_numbers(text: str) -> frozenset[int]:
    """Parse a kernel list such as `0-3,8`; empty if it is invalid."""
    numbers: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        if not first.isdigit():
            return frozenset()
        numbers.update(range(int(first), int(last or first) + 1))
    return frozenset(numbers)
