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

from typing import Dict, Iterable, Tuple

import numpy

from velodrome.adapters.proof import seeding

BUCKETS = 1021
# Summed at a time, so that what is computed of them stays in a core's cache. A multiple of 32,
# whole words of random bits: this number does not change the signs.
_ROWS = 64


def compute_sketch(name: str, values: numpy.ndarray) -> numpy.ndarray:
    """Return (BUCKETS,) float64; an array of at most BUCKETS values is its own sketch."""
    flat = values.reshape(-1)
    if flat.size <= BUCKETS:
        return flat.astype(numpy.float64)
    draw = seeding.make_stream(0, "signs", name)
    size = _ROWS * BUCKETS
    signed, total = numpy.empty(size), numpy.zeros(BUCKETS)
    for start in range(0, flat.size, size):
        chunk = flat[start : start + size].astype(numpy.float64, copy=False)
        bits = numpy.unpackbits(numpy.frombuffer(draw.bytes(size // 8), numpy.uint8))
        signed[chunk.size :] = 0.0
        own = signed[: chunk.size]
        numpy.multiply(bits[: chunk.size], 2.0, out=own)
        own -= 1.0
        own *= chunk
        total += signed.reshape(_ROWS, BUCKETS).sum(axis=0)
    return total


def compute_sketches(values: Iterable[Tuple[str, numpy.ndarray]]) -> Dict[str, numpy.ndarray]:
    """Return the sketch of each (name, array), which are read once."""
    return {name: compute_sketch(name, array) for name, array in values}
