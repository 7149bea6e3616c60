"""Layers on images (batch, channels, height, width). Convolution is cross-correlation."""

import numpy


def conv(call, layer, weights, x):
    return _convolve(call, layer, weights, x, (layer.stride, layer.stride), groups=layer.groups)


def dilated_conv(call, layer, weights, x):
    return _convolve(call, layer, weights, x, (1, 1), dilation=layer.dilation)


def _convolve(call, layer, weights, x, stride, groups=1, dilation=1):
    y = call.library.nnet.conv2d(
        x,
        weights["weight"],
        filter_shape=_shape(weights["weight"]),
        border_mode=(layer.padding, layer.padding),
        subsample=stride,
        filter_flip=False,
        filter_dilation=(dilation, dilation),
        num_groups=groups,
    )
    return y + _per_channel(weights["bias"]) if "bias" in weights else y


def transposed_conv(call, layer, weights, x):
    """Build a transposed convolution by the operation for a convolution's gradient."""
    height, width = (
        (length - 1) * layer.stride + layer.kernel - 2 * layer.padding
        for length in (x.shape[2], x.shape[3])
    )
    y = call.library.nnet.abstract_conv.conv2d_grad_wrt_inputs(
        x,
        weights["weight"],
        input_shape=(None, layer.maps, height, width),
        filter_shape=_shape(weights["weight"]),
        border_mode=(layer.padding, layer.padding),
        subsample=(layer.stride, layer.stride),
        filter_flip=False,
    )
    return y + _per_channel(weights["bias"])


def pool(mode):
    """Return a pooling operation. mode: as in pool_2d."""

    def pooled(call, layer, weights, x):
        size, stride = (layer.size, layer.size), (layer.stride, layer.stride)
        padding = getattr(layer, "padding", 0)
        return call.library.pool_2d(
            x, ws=size, stride=stride, ignore_border=True, pad=(padding, padding), mode=mode
        )

    return pooled


def batch_norm(call, layer, weights, x):
    # 1e-5 is the least that is taken, and as a float32 it is a little less.
    epsilon = max(layer.epsilon, float(numpy.nextafter(numpy.float32(1e-5), numpy.float32(1))))
    scale, bias = weights["scale"], weights["bias"]
    if call.statistics is not None:
        mean, variance = call.statistics[layer.name]
        return call.library.batch_normalization_test(
            x, scale, bias, mean, variance, axes="spatial", epsilon=epsilon
        )
    return call.library.batch_normalization(x, scale, bias, axes="spatial", epsilon=epsilon)[0]


def lrn(call, layer, weights, x):
    tensor = call.library.tensor
    half = layer.size // 2
    batch, channels, height, width = (x.shape[axis] for axis in range(4))
    padded = tensor.zeros((batch, channels + 2 * half, height, width))
    padded = tensor.set_subtensor(padded[:, half : half + channels], tensor.sqr(x))
    total = sum(padded[:, first : first + channels] for first in range(layer.size))
    return x / (layer.k + layer.alpha / layer.size * total) ** layer.beta


def _per_channel(bias):
    return bias.dimshuffle("x", 0, "x", "x")


def _shape(shared):
    return shared.get_value(borrow=True).shape
