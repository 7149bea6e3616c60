"""The batch sizes that a search may find, and the order in which it tries them. Pure.

A found size has at most three significant bits: 1 to 8, 10, 12, 14, 16, 20, 24, 28, 32 ... So a
limit that moves by a few percent, as free memory does, seldom moves the size, and between two
powers of two there are only three others to try. It is at most 20 % below the largest size.
"""

from collections.abc import Collection

SIGNIFICANT_BITS = 3
MOST = 65536


def round_down(size: int) -> int:
    """Round a size of 1 or more down to a candidate: 511 to 448."""
    shift = max(0, size.bit_length() - SIGNIFICANT_BITS)
    return size >> shift << shift


def find_next_larger(candidate: int) -> int:
    """Return the candidate after this one."""
    return candidate + (1 << max(0, candidate.bit_length() - SIGNIFICANT_BITS))


def find_next_smaller(candidate: int) -> int:
    """Return the candidate before this one; 0 before 1."""
    return round_down(candidate - 1) if candidate > 1 else 0


def choose_size(
    start: int, most: int, fitting: Collection[int], failing: Collection[int]
) -> int | None:
    """Choose the size to try next; None: the search is over, and max(fitting) is its result.

    Doubles from `start` on, or halves, until one size fits and a larger one does not; then bisects
    the candidates between the two. `most`: the largest size to try.
    """
    best, least = max(fitting, default=0), min(failing, default=0)
    if not best and not least:
        return round_down(max(1, min(start, most)))
    if not least:
        larger = round_down(min(2 * best, most))
        return larger if larger > best else None
    if not best:
        return round_down(least // 2) if least > 1 else None
    between = list_between(best, least)
    return between[len(between) // 2] if between else None


def list_between(lower: int, upper: int) -> tuple[int, ...]:
    """List the candidates above one size and below another."""
    found = []
    candidate = find_next_larger(round_down(lower))
    while candidate < upper:
        found.append(candidate)
        candidate = find_next_larger(candidate)
    return tuple(found)
