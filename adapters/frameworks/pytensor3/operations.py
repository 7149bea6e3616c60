"""Operations of PyTensor 2's `nnet` and `signal.pool`, composed from those of PyTensor 3.

Names and arguments are the old ones, for the family's layers call them. Images are (batch,
channels, height, width).
"""

from functools import reduce

import numpy
from pytensor import tensor
from pytensor.tensor import special

LEAST = float(numpy.finfo(numpy.float32).min)  # wins over no value in a window


def relu(x):
    return tensor.maximum(x, 0)


def softmax(x):
    return special.softmax(x, axis=-1)


def categorical_crossentropy(shares, labels):
    """Return (batch,). A softmax's logarithm compiles to one operation without overflow."""
    return -tensor.log(shares)[tensor.arange(labels.shape[0]), labels]


def conv2d(
    x,
    weight,
    filter_shape,
    border_mode,
    subsample,
    filter_flip,
    filter_dilation=(1, 1),
    num_groups=1,
):
    """Cross-correlate by one product of the kernels with all windows. filter_flip is False."""
    maps, channels, *kernel = filter_shape
    # Channels first and the batch behind them: the windows are a matrix as they stand.
    windows = _pad(x, border_mode).dimshuffle(1, 0, 2, 3)
    # Windows of rows, cut into columns then: that takes few slices, which compile for long.
    for axis, behind in ((0, -2), (1, -1)):
        cut = _slices(windows, behind, kernel[axis], subsample[axis], filter_dilation[axis])
        windows = tensor.stack(list(cut), axis=axis + 1)
    batch, height, width = (windows.shape[axis] for axis in (3, 4, 5))
    of_group = channels * kernel[0] * kernel[1]
    if num_groups > 1:
        kernels = weight.reshape((num_groups, maps // num_groups, of_group))
        product = tensor.matmul(kernels, windows.reshape((num_groups, of_group, -1)))
    else:
        product = tensor.dot(weight.reshape((maps, of_group)), windows.reshape((of_group, -1)))
    return product.reshape((maps, batch, height, width)).dimshuffle(1, 0, 2, 3)


def pool_2d(x, ws, stride, ignore_border, pad, mode):
    """Pool complete windows only. mode: `max` or, without padding, `average_exc_pad`."""
    joined = tensor.maximum if mode == "max" else tensor.add
    x = _pad(x, pad, LEAST)
    for axis, behind in ((0, -2), (1, -1)):
        x = reduce(joined, _slices(x, behind, ws[axis], stride[axis]))
    return x if mode == "max" else x / (ws[0] * ws[1])


def batch_normalization(x, scale, bias, axes, epsilon):
    """Return y in a tuple, as PyTensor 2 does first. axes must be `spatial`."""
    axes = (0, 2, 3)
    centred = x - x.mean(axes, keepdims=True)
    deviation = tensor.sqrt(tensor.sqr(centred).mean(axes, keepdims=True) + epsilon)
    scale, bias = (each.dimshuffle("x", 0, "x", "x") for each in (scale, bias))
    return (centred / deviation * scale + bias,)


def batch_normalization_test(x, scale, bias, mean, variance, axes, epsilon):
    """Return y by running statistics (channels,). axes must be `spatial`."""
    scale, bias, mean, variance = (
        each.dimshuffle("x", 0, "x", "x") for each in (scale, bias, mean, variance)
    )
    return (x - mean) / tensor.sqrt(variance + epsilon) * scale + bias


def _slices(x, axis, count, stride, dilation=1):
    """Yield the first values of all windows along an axis (-2 or -1), the second, and so on."""
    reach = dilation * (count - 1)
    behind = (slice(None),) * (-1 - axis)
    for first in range(0, reach + 1, dilation):
        yield x[(Ellipsis, slice(first, first - reach or None, stride), *behind)]


def _pad(x, padding, value=0.0):
    rows, columns = padding
    if not rows and not columns:
        return x
    batch, channels, height, width = (x.shape[axis] for axis in range(4))
    shape = (batch, channels, height + 2 * rows, width + 2 * columns)
    edge = tensor.full(shape, value, dtype=x.dtype)
    return edge[:, :, rows : rows + height, columns : columns + width].set(x)
