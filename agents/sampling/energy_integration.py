"""How much of a counter, or of a power, falls into a stretch of time between its readings."""

import statistics
from collections.abc import Sequence
from itertools import pairwise

# A longer silence of a power meter hides more than a trapezoid can bridge.
GAP_INTERVALS = 3
GAP_NS = 3 * 10**9
# In a shorter window most of what is told is what went on beside it.
SHORTEST_INTERVALS = 3

Window = tuple[int, int]  # begin and end, ns of CLOCK_MONOTONIC
Point = tuple[int, float]  # an instant and a value


def counter_growth(points: Sequence[Point], window: Window) -> float | None:
    """How much a counter grew within a window, straight lines between its readings.

    None: no reading is near enough to an edge (see _inside), or it fell meanwhile.
    """
    if fell(points, window):
        return None
    inside = _inside(points, window)
    return None if inside is None else (inside[-1][1] - inside[0][1]) * _stretch(inside, window)


def fell(points: Sequence[Point], window: Window) -> bool:
    """Whether a counter began anew between two readings around or within a window.

    As when a GPU is reset or its driver reloaded. What was counted before is lost.
    """
    spans = ((a, b) for a, b in pairwise(points) if b[0] > window[0] and a[0] < window[1])
    return any(after < before for (_, before), (_, after) in spans)


def is_resolved(points: Sequence[Point], window: Window) -> bool:
    """Whether a window is long beside the time between two readings."""
    if len(points) < 2:
        return False
    return window[1] - window[0] >= SHORTEST_INTERVALS * _interval_ns(points)


def integral(points: Sequence[Point], window: Window) -> float | None:
    """Value times seconds within a window, by trapezoids.

    None: there is a gap in it, or no reading is near enough to an edge (see _inside).
    """
    inside = _inside(points, window)
    if inside is None or any(b[0] - a[0] > _longest_gap_ns(points) for a, b in pairwise(inside)):
        return None
    area = sum((b[0] - a[0]) / 1e9 * (a[1] + b[1]) / 2 for a, b in pairwise(inside))
    return area * _stretch(inside, window)


def _inside(points: Sequence[Point], window: Window) -> list[Point] | None:
    """The points within a window and, interpolated, those at its edges.

    None if the two points around an edge are further apart than the longest gap. An edge outside
    of what was sampled, by one interval at most, is moved to the nearest point.
    """
    if len(points) < 2:
        return None
    begin, end = max(window[0], points[0][0]), min(window[1], points[-1][0])
    if begin >= end or max(begin - window[0], window[1] - end) > _interval_ns(points):
        return None
    spans = [(a, b) for a, b in pairwise(points) if b[0] > begin and a[0] < end]
    if any(b[0] - a[0] > _longest_gap_ns(points) for a, b in (spans[0], spans[-1])):
        return None
    between = [point for point in points if begin < point[0] < end]
    return [_at(begin, *spans[0]), *between, _at(end, *spans[-1])]


def _at(at_ns: int, a: Point, b: Point) -> Point:
    return at_ns, a[1] + (b[1] - a[1]) * (at_ns - a[0]) / (b[0] - a[0])


def _stretch(inside: Sequence[Point], window: Window) -> float:
    """Above 1 where an edge was moved: what was left out is as the rest."""
    return (window[1] - window[0]) / (inside[-1][0] - inside[0][0])


def _interval_ns(points: Sequence[Point]) -> float:
    """The usual time between two readings of one figure."""
    return statistics.median(b[0] - a[0] for a, b in pairwise(points))


def _longest_gap_ns(points: Sequence[Point]) -> float:
    return min(GAP_INTERVALS * _interval_ns(points), GAP_NS)
