"""Counter growth and power integrals within a time window."""

import statistics
from collections.abc import Sequence
from itertools import pairwise

# A trapezoid cannot bridge a longer gap of a power meter.
GAP_INTERVALS = 3
GAP_NS = 3 * 10**9
# A shorter window would mostly show what happened before and after it.
SHORTEST_INTERVALS = 3

Window = tuple[int, int]  # begin and end, ns of CLOCK_MONOTONIC
Point = tuple[int, float]  # an instant and a value


def counter_growth(points: Sequence[Point], window: Window) -> float | None:
    """Return a counter's growth within a window, interpolated between its readings.

    None: no reading is near enough to an edge (see _points_inside), or the counter was reset.
    """
    if was_reset(points, window):
        return None
    inside = _points_inside(points, window)
    return (
        None if inside is None else (inside[-1][1] - inside[0][1]) * _extrapolation(inside, window)
    )


def was_reset(points: Sequence[Point], window: Window) -> bool:
    """Return True if a counter restarted between two readings in or around a window.

    A reset of the GPU or a reload of its driver does so. The earlier count is lost.
    """
    spans = ((a, b) for a, b in pairwise(points) if b[0] > window[0] and a[0] < window[1])
    return any(after < before for (_, before), (_, after) in spans)


def is_resolved(points: Sequence[Point], window: Window) -> bool:
    """Return True if a window is long compared with the sampling interval."""
    if len(points) < 2:
        return False
    return window[1] - window[0] >= SHORTEST_INTERVALS * _interval_ns(points)


def list_updates(points: Sequence[Point]) -> list[Point]:
    """List the points of a counter at which it was first seen to have another value.

    A counter that its source updates more seldom than it is read repeats its values.
    """
    return [*points[:1], *(b for a, b in pairwise(points) if a[1] != b[1])]


def integrate(points: Sequence[Point], window: Window) -> float | None:
    """Integrate a value over seconds within a window, by trapezoids.

    None: there is a gap, or no reading is near enough to an edge (see _points_inside).
    """
    inside = _points_inside(points, window)
    if inside is None or any(b[0] - a[0] > _longest_gap_ns(points) for a, b in pairwise(inside)):
        return None
    area = sum((b[0] - a[0]) / 1e9 * (a[1] + b[1]) / 2 for a, b in pairwise(inside))
    return area * _extrapolation(inside, window)


def _points_inside(points: Sequence[Point], window: Window) -> list[Point] | None:
    """The points within a window, with interpolated ones at its edges.

    None if the two points around an edge are further apart than the longest gap. An edge that lies
    outside the samples, by one interval at most, is moved to the nearest point.
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
    return [_interpolate(begin, *spans[0]), *between, _interpolate(end, *spans[-1])]


def _interpolate(at_ns: int, a: Point, b: Point) -> Point:
    return at_ns, a[1] + (b[1] - a[1]) * (at_ns - a[0]) / (b[0] - a[0])


def _extrapolation(inside: Sequence[Point], window: Window) -> float:
    """Above 1 if an edge was moved: the missing part is taken as equal to the rest."""
    return (window[1] - window[0]) / (inside[-1][0] - inside[0][0])


def _interval_ns(points: Sequence[Point]) -> float:
    """The median time between two readings of one figure."""
    return statistics.median(b[0] - a[0] for a, b in pairwise(points))


def _longest_gap_ns(points: Sequence[Point]) -> float:
    return min(GAP_INTERVALS * _interval_ns(points), GAP_NS)
