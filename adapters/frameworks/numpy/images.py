"""Layers that read windows of an image: (batch, channels, height, width)."""

from typing import FrozenSet, Optional, Tuple

import numpy

from velodrome.adapters.frameworks.numpy.operation import (
    Array,
    CallContext,
    Gradients,
    Operation,
    Weights,
)
from velodrome.adapters.models import layers as kinds
from velodrome.adapters.models.shapes import Shape


def view_windows(x: Array, size: int, stride: int, dilation: int = 1) -> Array:
    """Return a view (batch, channels, size, size, out height, out width): every window.

    Values of one window are `dilation` apart.

    As numpy.lib.stride_tricks.sliding_window_view, which NumPy has only since 1.20.
    """
    batch, channels, height, width = x.shape
    reach = (size - 1) * dilation + 1
    out_height, out_width = (height - reach) // stride + 1, (width - reach) // stride + 1
    of_batch, of_channel, of_row, of_column = x.strides
    return numpy.lib.stride_tricks.as_strided(
        x,
        (batch, channels, size, size, out_height, out_width),
        (
            of_batch,
            of_channel,
            of_row * dilation,
            of_column * dilation,
            of_row * stride,
            of_column * stride,
        ),
        writeable=False,
    )


def _sum_windows(of_windows: Array, shape: Shape, stride: int, dilation: int = 1) -> Array:
    """Add each window's values back at their places: the transpose of view_windows."""
    total = numpy.zeros(shape)
    size, out_height, out_width = of_windows.shape[3:]
    for row in range(size):
        for column in range(size):
            top, left = row * dilation, column * dilation
            total[
                :,
                :,
                top : top + stride * out_height : stride,
                left : left + stride * out_width : stride,
            ] += of_windows[:, :, row, column]
    return total


def _pad(x: Array, padding: int, value: float = 0.0) -> Array:
    widths = ((0, 0), (0, 0), (padding, padding), (padding, padding))
    return numpy.pad(x, widths, "constant", constant_values=value)


def _columns(layer: kinds.Conv, x: Array) -> Tuple[Array, Tuple[int, int]]:
    """Return (batch, groups, inputs / groups * kernel^2, positions): each window as a column."""
    windows = view_windows(_pad(x, layer.padding), layer.kernel, layer.stride)
    batch, out_height, out_width = len(x), windows.shape[4], windows.shape[5]
    return windows.reshape(batch, layer.groups, -1, out_height * out_width), (out_height, out_width)


def _conv_forward(
    layer: kinds.Conv, weights: Weights, inputs: Tuple[Array, ...], call: CallContext
) -> Tuple[Array, Array]:
    (x,) = inputs
    columns, out_size = _columns(layer, x)
    kernels = weights["weight"].reshape(layer.groups, layer.maps // layer.groups, -1)
    y = (kernels @ columns).reshape((len(x), layer.maps) + out_size)
    if layer.bias:
        y += weights["bias"][:, None, None]
    return y, x


def _conv_backward(
    layer: kinds.Conv, weights: Weights, x: Array, gradient: Array, wanted: FrozenSet[str]
) -> Gradients:
    # The columns are computed again, not stored: they are kernel^2 times the input.
    maps = layer.maps // layer.groups
    by_position = gradient.reshape(len(x), layer.groups, maps, -1)
    of_roles: Weights = {}
    if "weight" in wanted:
        columns, _ = _columns(layer, x)
        product = (by_position @ columns.transpose(0, 1, 3, 2)).sum(axis=0)
        of_roles["weight"] = product.reshape(weights["weight"].shape)
    if "bias" in wanted:
        of_roles["bias"] = gradient.sum(axis=(0, 2, 3))
    return (_conv_input(layer, weights, x, by_position, gradient.shape, wanted),), of_roles


def _conv_input(
    layer: kinds.Conv,
    weights: Weights,
    x: Array,
    by_position: Array,
    out_shape: Shape,
    wanted: FrozenSet[str],
) -> Optional[Array]:
    if "input" not in wanted:
        return None
    batch, channels, height, width = x.shape
    kernels = weights["weight"].reshape(layer.groups, layer.maps // layer.groups, -1)
    of_windows = (kernels.transpose(0, 2, 1) @ by_position).reshape(
        (batch, channels, layer.kernel, layer.kernel) + out_shape[2:]
    )
    edge = layer.padding
    shape = (batch, channels, height + 2 * edge, width + 2 * edge)
    total = _sum_windows(of_windows, shape, layer.stride)
    return total[:, :, edge : edge + height, edge : edge + width]


def _without_edge(x: Array, edge: int) -> Array:
    return x[:, :, edge : x.shape[2] - edge, edge : x.shape[3] - edge]


def _dilated_forward(
    layer: kinds.DilatedConv, weights: Weights, inputs: Tuple[Array, ...], call: CallContext
) -> Tuple[Array, Array]:
    (x,) = inputs
    windows = view_windows(_pad(x, layer.padding), layer.kernel, 1, layer.dilation)
    y = numpy.einsum("mcrs,bcrsij->bmij", weights["weight"], windows)
    return y + weights["bias"][:, None, None], x


def _dilated_backward(
    layer: kinds.DilatedConv, weights: Weights, x: Array, gradient: Array, wanted: FrozenSet[str]
) -> Gradients:
    padded = _pad(x, layer.padding)
    windows = view_windows(padded, layer.kernel, 1, layer.dilation)
    of_windows = numpy.einsum("mcrs,bmij->bcrsij", weights["weight"], gradient)
    of_padded = _sum_windows(of_windows, padded.shape, 1, layer.dilation)
    of_roles = {
        "weight": numpy.einsum("bmij,bcrsij->mcrs", gradient, windows),
        "bias": gradient.sum(axis=(0, 2, 3)),
    }
    return (_without_edge(of_padded, layer.padding),), of_roles


def _transposed_forward(
    layer: kinds.TransposedConv, weights: Weights, inputs: Tuple[Array, ...], call: CallContext
) -> Tuple[Array, Array]:
    (x,) = inputs
    of_windows = numpy.einsum("cmrs,bcij->bmrsij", weights["weight"], x)
    batch, _, height, width = x.shape
    whole = [(length - 1) * layer.stride + layer.kernel for length in (height, width)]
    y = _sum_windows(of_windows, (batch, layer.maps) + tuple(whole), layer.stride)
    return _without_edge(y, layer.padding) + weights["bias"][:, None, None], x


def _transposed_backward(
    layer: kinds.TransposedConv, weights: Weights, x: Array, gradient: Array, wanted: FrozenSet[str]
) -> Gradients:
    windows = view_windows(_pad(gradient, layer.padding), layer.kernel, layer.stride)
    of_roles = {
        "weight": numpy.einsum("bcij,bmrsij->cmrs", x, windows),
        "bias": gradient.sum(axis=(0, 2, 3)),
    }
    return (numpy.einsum("cmrs,bmrsij->bcij", weights["weight"], windows),), of_roles


def _average_forward(
    layer: kinds.AvgPool, weights: Weights, inputs: Tuple[Array, ...], call: CallContext
) -> Tuple[Array, Shape]:
    (x,) = inputs
    return view_windows(x, layer.size, layer.stride).mean(axis=(2, 3)), x.shape


def _average_backward(
    layer: kinds.AvgPool, weights: Weights, shape: Shape, gradient: Array, wanted: FrozenSet[str]
) -> Gradients:
    share = gradient[:, :, None, None] / layer.size**2
    of_windows = numpy.broadcast_to(
        share, gradient.shape[:2] + (layer.size, layer.size) + gradient.shape[2:]
    )
    return (_sum_windows(of_windows, shape, layer.stride),), {}


def _pool_forward(
    layer: kinds.MaxPool, weights: Weights, inputs: Tuple[Array, ...], call: CallContext
) -> Tuple[Array, Tuple[Array, Shape]]:
    windows = view_windows(pad_for_pool(layer, inputs[0]), layer.size, layer.stride)
    flat = windows.reshape(windows.shape[:2] + (layer.size**2,) + windows.shape[4:])
    return flat.max(axis=2), (flat.argmax(axis=2), inputs[0].shape)


def pad_for_pool(layer: kinds.MaxPool, x: Array) -> Array:
    """Pad an image with values that no window chooses."""
    if not layer.padding:
        return x
    return _pad(x, layer.padding, -numpy.inf)


def _pool_backward(
    layer: kinds.MaxPool,
    weights: Weights,
    saved: Tuple[Array, Shape],
    gradient: Array,
    wanted: FrozenSet[str],
) -> Gradients:
    largest, shape = saved
    offsets = numpy.arange(layer.size**2)[:, None, None]
    routed = numpy.where(largest[:, :, None] == offsets, gradient[:, :, None], 0.0)
    out_size = gradient.shape[2:]
    of_windows = routed.reshape(shape[:2] + (layer.size, layer.size) + out_size)
    edge = layer.padding
    padded = shape[:2] + (shape[2] + 2 * edge, shape[3] + 2 * edge)
    return (_without_edge(_sum_windows(of_windows, padded, layer.stride), edge),), {}


def _mean_forward(
    layer: kinds.MeanOverImage, weights: Weights, inputs: Tuple[Array, ...], call: CallContext
) -> Tuple[Array, Shape]:
    return inputs[0].mean(axis=(2, 3)), inputs[0].shape


def _mean_backward(
    layer: kinds.MeanOverImage,
    weights: Weights,
    shape: Shape,
    gradient: Array,
    wanted: FrozenSet[str],
) -> Gradients:
    share = gradient[:, :, None, None] / (shape[2] * shape[3])
    return (numpy.broadcast_to(share, shape),), {}


def _around(x: Array, before: int, after: int) -> Array:
    """Sum, for each channel, `before` channels below it, itself and `after` above it."""
    total = x.copy()
    for distance in range(1, before + 1):
        total[:, distance:] += x[:, :-distance]
    for distance in range(1, after + 1):
        total[:, :-distance] += x[:, distance:]
    return total


def _lrn_forward(
    layer: kinds.Lrn, weights: Weights, inputs: Tuple[Array, ...], call: CallContext
) -> Tuple[Array, Tuple[Array, Array]]:
    (x,) = inputs
    below, above = layer.size // 2, (layer.size - 1) // 2
    scale = layer.k + layer.alpha / layer.size * _around(x * x, below, above)
    return x * scale**-layer.beta, (x, scale)


def _lrn_backward(
    layer: kinds.Lrn,
    weights: Weights,
    saved: Tuple[Array, Array],
    gradient: Array,
    wanted: FrozenSet[str],
) -> Gradients:
    x, scale = saved
    below, above = layer.size // 2, (layer.size - 1) // 2
    power = scale**-layer.beta
    # A channel is in the windows of those above it by `below`, and of those below it by `above`.
    shared = _around(gradient * x * power / scale, above, below)
    factor = 2.0 * layer.alpha * layer.beta / layer.size
    return (gradient * power - factor * x * shared,), {}


CONV = Operation(_conv_forward, _conv_backward)
DILATED_CONV = Operation(_dilated_forward, _dilated_backward)
TRANSPOSED_CONV = Operation(_transposed_forward, _transposed_backward)
AVG_POOL = Operation(_average_forward, _average_backward)
MAX_POOL = Operation(_pool_forward, _pool_backward)
LRN = Operation(_lrn_forward, _lrn_backward)
MEAN_OVER_IMAGE = Operation(_mean_forward, _mean_backward)
