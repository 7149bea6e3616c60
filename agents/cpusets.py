"""The kernel's way to write which CPUs: `0-3,8`."""


def cpu_numbers(text: str) -> frozenset[int]:
    """Of the kernel's lists, as `0-3,8`. Empty for a text that is none."""
    numbers: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        if not first.isdigit():
            return frozenset()
        numbers.update(range(int(first), int(last or first) + 1))
    return frozenset(numbers)
