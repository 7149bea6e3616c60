"""Sketches of gradients: about a thousand numbers that preserve distances.

The values are given random signs and added up in BUCKETS sums, the same signs for the same
parameter everywhere. The squared length of the difference of two sketches is an unbiased estimate
of that of the difference of the two gradients, with a relative standard deviation of about
sqrt(2 / BUCKETS), 4.4 %: of the length itself, 2.2 %. This is the sketch of Alon, Matias and
Szegedy (The space complexity of approximating the frequency moments, STOC 1996), in buckets as the
count sketch of Charikar, Chen and Farach-Colton (Finding frequent items in data streams, ICALP
2002).

Value number i falls in bucket i modulo BUCKETS, not in a hashed one: that needs no scatter. BUCKETS
is a prime, so that an error in one column of a weight (values 4096 apart, say) still spreads over
all of them.
"""

import numpy

from velodrome.adapters.proof import seeding

BUCKETS = 1021
_ROWS = 1024  # a multiple of 32: whole words of random bits, so chunks do not change the signs


def compute_sketch(name: str, values: numpy.ndarray) -> numpy.ndarray:
    """Return (BUCKETS,) float64; an array of at most BUCKETS values is its own sketch."""
    flat = values.reshape(-1)
    if flat.size <= BUCKETS:
        return flat.astype(numpy.float64)
    draw = seeding.make_stream(0, "signs", name)
    total = numpy.zeros(BUCKETS)
    for start in range(0, flat.size, _ROWS * BUCKETS):
        chunk = flat[start : start + _ROWS * BUCKETS].astype(numpy.float64)
        total += _signed_sum(draw, chunk)
    return total


def _signed_sum(draw: numpy.random.RandomState, chunk: numpy.ndarray) -> numpy.ndarray:
    bits = numpy.frombuffer(draw.bytes(_ROWS * BUCKETS // 8), numpy.uint8)
    positive = numpy.unpackbits(bits)[: chunk.size]
    signed = numpy.zeros(_ROWS * BUCKETS)
    signed[: chunk.size] = (2.0 * positive - 1.0) * chunk
    total: numpy.ndarray = signed.reshape(_ROWS, BUCKETS).sum(axis=0)
    return total
