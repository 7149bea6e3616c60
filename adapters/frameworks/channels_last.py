"""Canonical arrays to channels-last layouts, and gradients back: on the host, never in a call.

Images are (batch, height, width, channels), convolution weights (height, width, in, out), those of
a transposed convolution (height, width, out, in), all other weights (in, out). A linear layer
behind images reads them flattened in that order, so the rows of its weight are put into it here.
Tokens are (time, batch): time comes first.
"""

import numpy

from velodrome.adapters.models import layers as kinds


def parameter(layer, role, array, source):
    """As the framework takes it. source: shape of one example before the layer, canonical."""
    if array.ndim < 2 or isinstance(layer, kinds.Embedding):
        return array
    if array.ndim == 4:
        return array.transpose(2, 3, 1, 0)
    if isinstance(layer, kinds.Linear) and len(source) == 3:
        return array.reshape((-1,) + source).transpose(2, 3, 1, 0).reshape(array.shape[::-1])
    return array.T


def canonical_parameter(layer, role, array, source):
    """The inverse of `parameter`."""
    if array.ndim < 2 or isinstance(layer, kinds.Embedding):
        return array
    if array.ndim == 4:
        return array.transpose(3, 2, 0, 1)
    if isinstance(layer, kinds.Linear) and len(source) == 3:
        channels, height, width = source
        unfolded = array.reshape(height, width, channels, -1)
        return unfolded.transpose(3, 2, 0, 1).reshape(array.shape[::-1])
    return array.T


def inputs(array, multiple):
    """A batch's inputs. Tokens are padded with 0 to a multiple of that many steps."""
    if array.ndim == 4:
        return array.transpose(0, 2, 3, 1)
    if array.dtype.kind == "i":
        padding = -array.shape[1] % multiple
        return numpy.pad(array, ((0, 0), (0, padding)), "constant").T
    return array


def canonical_output(array):
    """What a layer gave, as the contract wants it."""
    return array.transpose(0, 3, 1, 2) if array.ndim == 4 else array
