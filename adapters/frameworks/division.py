"""Division of batches among the devices of one process, and comparison of the devices' copies."""

from typing import List, Sequence

import numpy

from velodrome.adapters.contract import Batch, Unsupported
from velodrome.adapters.groups.examples import take_share
from velodrome.adapters.proof.disagreement import Disagreed
from velodrome.adapters.proof.relative_errors import measure_distance
from velodrome.adapters.tolerances import COPY_TOLERANCE


def require_equal_parts(examples: int, devices: int) -> None:
    """Raise Unsupported if a batch cannot be divided equally."""
    if examples % devices:
        text = "a batch of {} examples cannot be divided equally among {} devices"
        raise Unsupported(text.format(examples, devices))


def divide_batch(batch: Batch, devices: int) -> List[Batch]:
    """Return each device's examples, in order. Unsupported if they are not equally many."""
    require_equal_parts(len(batch.inputs), devices)
    return [take_share(batch, number, devices) for number in range(devices)]


def require_equal(name: str, copies: Sequence[numpy.ndarray]) -> numpy.ndarray:
    """Return the first device's copy. Disagreed if another device's differs.

    name: what the copies are of, such as a parameter's key.
    """
    for device, copy in enumerate(copies[1:], 1):
        if numpy.array_equal(copy, copies[0]):  # the usual case, at a fraction of the cost
            continue
        error = measure_distance(copy, copies[0])
        if not error <= COPY_TOLERANCE:  # nan is not
            text = "{} of device {} is not that of device 0: off by {:.2g} (allowed {:.0e})"
            raise Disagreed(text.format(name, device, error, COPY_TOLERANCE))
    return copies[0]
