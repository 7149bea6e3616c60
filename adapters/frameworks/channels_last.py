"""Conversion of canonical arrays to channels-last layouts and back, on the host, before calls.

Images are (batch, height, width, channels), convolution weights (height, width, in, out), those of
a transposed convolution (height, width, out, in), all other weights (in, out). A linear layer
behind images reads them flattened in that order, so its weight's rows are reordered here. Tables of
vectors, which no product reads, stay as they are.
"""

from typing import Tuple

import numpy

from velodrome.adapters.models import layers as kinds

TABLES = (kinds.Embedding, kinds.LearnedPositions)


def convert_parameter(
    layer: kinds.Layer, array: numpy.ndarray, source: Tuple[int, ...]
) -> numpy.ndarray:
    """Return a parameter in the framework's layout.

    source: canonical shape of one example before the layer.
    """
    if array.ndim < 2 or isinstance(layer, TABLES):
        return array
    if array.ndim == 4:
        return array.transpose(2, 3, 1, 0)
    if isinstance(layer, kinds.Linear) and len(source) == 3:
        return array.reshape((-1,) + source).transpose(2, 3, 1, 0).reshape(array.shape[::-1])
    return array.T


def restore_parameter(
    layer: kinds.Layer, array: numpy.ndarray, source: Tuple[int, ...]
) -> numpy.ndarray:
    """Return a parameter in canonical layout: the inverse of convert_parameter."""
    if array.ndim < 2 or isinstance(layer, TABLES):
        return array
    if array.ndim == 4:
        return array.transpose(3, 2, 0, 1)
    if isinstance(layer, kinds.Linear) and len(source) == 3:
        channels, height, width = source
        unfolded = array.reshape(height, width, channels, -1)
        return unfolded.transpose(3, 2, 0, 1).reshape(array.shape[::-1])
    return array.T


def convert_inputs(
    array: numpy.ndarray,
    multiple: int,
    time_first: bool = True,  # noqa: FBT001, FBT002
) -> numpy.ndarray:
    """Return a batch's inputs; tokens padded with 0 to a multiple of that many steps.

    time_first: tokens are (time, batch), as recurrent layers read them; else (batch, time).
    """
    if array.ndim == 4:
        return array.transpose(0, 2, 3, 1)
    if array.dtype.kind == "i":
        padding = -array.shape[1] % multiple
        padded = numpy.pad(array, ((0, 0), (0, padding)), "constant")
        return padded.T if time_first else padded
    return array


def restore_output(array: numpy.ndarray) -> numpy.ndarray:
    """Return a layer's output in canonical layout."""
    return array.transpose(0, 3, 1, 2) if array.ndim == 4 else array
