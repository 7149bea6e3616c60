"""One-sided tests of machines against others of their type, over all cells that they ran.

A machine's time in a cell is compared with the mean of its peers by Student's t for one new value:
the variance is that between the peers, so that the fleet itself says how much machines of a type
differ. The degrees of freedom are at most five, because process times have heavier tails than the
normal distribution. One more column, the median deviation over all cells, finds a machine that is a
little slow in everything. Cells of one machine depend on each other in an unknown way, so that the
correction is Bonferroni's: half of the error for that median, the other half for the cells, and all
of it divided by the number of machines. The variance between a few peers may be small by chance, so
it is at least what the processes of single machines explain (bimodal processes make four machines
look like three and an outlier).

Slow machines among the peers would hide each other. They are removed first, the most extreme one at
a time, and the removals up to the last one that is significant count (B. Rosner, Percentage points
for a generalized ESD many-outlier procedure, Technometrics 25 (1983) 165-172). On a fleet without
outliers nothing is removed, so that variances are not biased.

Arrays of times hold logarithms, with machines and cells on their last two axes; NaN: not measured.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri, stdtr, stdtrit

from velodrome.scheduler.statistics.bimodality import Array, Bools

ALPHA = 0.05  # the stated rate: of fleets without a fault in which any machine is rejected
TESTED_AT = 0.04  # leaves room for times that are not normal
FEWEST_PEERS = 3  # two degrees of freedom
LARGEST_SHARE = 3  # at most one in so many machines is removed from the peers
MOST_DEGREES = 5.0  # with more, a fleet with the tails of a t of four has too many rejections
CLOCK = 0.001  # least standard deviation between machines: equal times are rounded ones
POWER = 0.8


@dataclass(frozen=True)
class PeerTests:
    """Results by machine, and by machine and column: the cells, then the median over them.

    deviation: logarithm of the ratio to the peers' mean, by column. p: one-sided, of a machine that
    is not slower, times a factor for its columns, so that it may be above 1. peers: the number in
    the column with most. detectable: logarithm of the slow-down of all cells that is detected with
    80 %. NaN: untested.
    """

    deviation: Array
    p: Array
    peers: Array
    detectable: Array


def estimate_floor(processes: Array) -> Array:
    """Return the variance, by cell, that a machine's median has because its processes differ.

    processes: logarithms with machines, cells and processes on the last axes; NaN: none. Pooled
    over machines; 0 without two processes on any. The variance of a median is pi / 2 that of a
    mean.
    """
    known = np.isfinite(processes)
    count = known.sum(axis=-1)
    values = np.where(known, processes, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = values.sum(axis=-1) / count
        squares = np.where(known, (values - mean[..., None]) ** 2, 0.0).sum(axis=(-1, -3))
        degrees = np.maximum(count - 1, 0).sum(axis=-2)
        each = count.sum(axis=-2) / (count > 0).sum(axis=-2)
        floor = squares / degrees * np.minimum(1.0, math.pi / 2 / each)
    return np.asarray(np.where(degrees > 0, floor, 0.0))


def find_peers(logs: Array, units: int, floor: Array | None = None) -> Bools:
    """Return True for machines that others are compared with: all but outliers, fast or slow.

    units: the number of machines in the whole fleet. floor: as of `estimate_floor`.
    """
    peers: Bools = np.asarray(np.isfinite(logs).any(axis=-1))
    found = peers.copy()
    count = logs.shape[-2]
    for _ in range(min(count // LARGEST_SHARE, count - FEWEST_PEERS)):
        tests = compare_among_peers(logs, peers, units, floor)
        extreme = np.fmin(tests.p, _flip(tests.p))
        smallest = np.fmin.reduce(extreme, axis=-1)
        smallest = np.where(peers & np.isfinite(smallest), smallest, np.inf)
        worst = smallest.argmin(axis=-1)
        np.put_along_axis(peers, worst[..., None], values=False, axis=-1)
        is_sure = 2 * units * smallest.min(axis=-1) <= TESTED_AT
        found = np.where(is_sure[..., None], peers, found)
    return np.asarray(found)


def compare_among_peers(
    logs: Array, peers: Bools, units: int, floor: Array | None = None
) -> PeerTests:
    """Test each machine against the peers without itself."""
    columns = _add_median(logs, _mean(logs, peers)[..., None, :])
    is_peer = peers[..., None] & np.isfinite(columns)
    values = np.where(is_peer, columns, 0.0)
    # Without itself: sums over the peers, less its own.
    count = is_peer.sum(axis=-2, keepdims=True) - is_peer
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = (values.sum(axis=-2, keepdims=True) - values) / count
        centre = values.sum(axis=-2, keepdims=True) / is_peer.sum(axis=-2, keepdims=True)
        squares = np.where(is_peer, (columns - centre) ** 2, 0.0)
        rest = squares.sum(axis=-2, keepdims=True) - squares - count * (mean - centre) ** 2
        variance = np.maximum(np.maximum(rest, 0.0) / (count - 1), _widen(floor, logs))
    return _test(columns, mean, variance, count, units)


def compare_with_reference(
    logs: Array, reference: Array, units: int, floor: Array | None = None
) -> PeerTests:
    """Test each machine against others, measured elsewhere or earlier. Same cells in both."""
    everyone: Bools = np.asarray(np.isfinite(reference).any(axis=-1))
    centre = _mean(reference, everyone)[..., None, :]
    known = _add_median(reference, centre)
    columns = _add_median(logs, centre)
    is_known = np.isfinite(known)
    count = np.broadcast_to(is_known.sum(axis=-2, keepdims=True), columns.shape)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.where(is_known, known, 0.0).sum(axis=-2, keepdims=True) / count
        squares = np.where(is_known, (known - mean[..., :1, :]) ** 2, 0.0)
        own = squares.sum(axis=-2, keepdims=True) / (count - 1)
        variance = np.maximum(own, _widen(floor, logs))
    return _test(columns, mean, variance, count, units)


def _test(columns: Array, mean: Array, variance: Array, count: Array, units: int) -> PeerTests:
    is_tested = np.isfinite(columns) & (count >= FEWEST_PEERS)
    degrees = np.where(is_tested, np.minimum(count - 1.0, MOST_DEGREES), 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.sqrt(np.maximum(variance, CLOCK**2) * (1 + 1 / count))
        deviation = np.where(is_tested, columns - mean, np.nan)
        p = np.where(is_tested, stdtr(degrees, -deviation / error), np.nan)
    shares = _share_error(is_tested)
    quantile = -stdtrit(degrees[..., -1], TESTED_AT / (units * shares[..., -1]))
    detectable = error[..., -1] * (quantile + ndtri(POWER))
    return PeerTests(
        deviation,
        p * shares,
        np.where(is_tested, count, 0).max(axis=-1),
        np.where(is_tested[..., -1], detectable, np.nan),
    )


def _widen(floor: Array | None, logs: Array) -> Array:
    """Return the floor of each column, the median over the cells included."""
    if floor is None:
        return np.zeros(1)
    cells = np.asarray(floor)
    mean = cells.mean(axis=-1, keepdims=True)
    median = mean * min(1.0, math.pi / 2 / logs.shape[-1])
    return np.concatenate([cells, median], axis=-1)[..., None, :]


def _share_error(is_tested: Bools) -> Array:
    """Return the factor of p in each column: 2 for the median, 2 per cell for cells; 1 for one."""
    cells = is_tested[..., :-1].sum(axis=-1, keepdims=True)
    half = np.where(cells > 1, 2.0, 1.0)
    return np.concatenate(
        [np.broadcast_to(half * np.maximum(cells, 1), is_tested[..., :-1].shape), half], axis=-1
    )


def _flip(p: Array) -> Array:
    """Return the corrected p of the other side, that a machine is not faster."""
    shares = _share_error(np.isfinite(p))
    return np.asarray((1 - p / shares) * shares)


def _mean(logs: Array, peers: Bools) -> Array:
    is_peer = peers[..., None] & np.isfinite(logs)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(is_peer, logs, 0.0).sum(axis=-2) / is_peer.sum(axis=-2))


def _add_median(logs: Array, centre: Array) -> Array:
    """Append each machine's median deviation from the centre of each cell."""
    off = logs - centre
    known = np.isfinite(off)
    # Not nanmedian, which warns of machines without any, and is slow.
    ordered = np.sort(np.where(known, off, np.inf), axis=-1)
    count = known.sum(axis=-1, keepdims=True)
    low, high = (
        np.take_along_axis(ordered, np.clip(at, 0, None), axis=-1)
        for at in ((count - 1) // 2, np.minimum(count // 2, off.shape[-1] - 1))
    )
    median = np.where(count > 0, (low + high) / 2, np.nan)
    return np.concatenate([logs, median], axis=-1)
