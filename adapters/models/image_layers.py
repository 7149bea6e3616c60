"""The kinds of layers that a model of images is written in, as data.

Their values are (channels, height, width). velodrome.adapters.models.layers has all kinds.
"""

from typing import NamedTuple, Union

from velodrome.adapters.models.step_layers import Inputs


class Conv(NamedTuple):
    """y = x * weight + bias. Parameters weight (maps, in/groups, kernel, kernel), bias (maps,)."""

    name: str
    maps: int
    kernel: int
    stride: int = 1
    padding: int = 0
    groups: int = 1
    inputs: Inputs = ()
    frozen: bool = False
    bias: bool = True


class DilatedConv(NamedTuple):
    """A convolution of stride 1 whose kernel reads every `dilation`-th value.

    Parameters weight (maps, in, kernel, kernel), bias (maps,).
    """

    name: str
    maps: int
    kernel: int
    dilation: int
    padding: int = 0
    inputs: Inputs = ()


class TransposedConv(NamedTuple):
    """Each value times the kernel, summed where kernels overlap, `padding` cut off at each edge.

    (n - 1) * stride + kernel - 2 * padding values from n. Parameters weight (in, maps, kernel,
    kernel), bias (maps,).
    """

    name: str
    maps: int
    kernel: int
    stride: int = 1
    padding: int = 0
    inputs: Inputs = ()


class MaxPool(NamedTuple):
    """The largest value of each window. Padding never wins; no window hangs over its edge."""

    name: str
    size: int
    stride: int
    inputs: Inputs = ()
    padding: int = 0


class AvgPool(NamedTuple):
    """The mean of each window; no padding, no window that hangs over the edge."""

    name: str
    size: int
    stride: int
    inputs: Inputs = ()


class BatchNorm(NamedTuple):
    """y = (x - mean) / sqrt(variance + epsilon) * scale + bias, per channel of an image.

    Mean and variance (over n, not n - 1) are the batch's, over all positions. Gradients flow
    through both; no running averages are kept. Parameters scale (channels,), bias (channels,).
    seeded_scale, seeded_bias: the drawn values are about them; a bias has a random sign.
    """

    name: str
    epsilon: float = 1e-5
    inputs: Inputs = ()
    seeded_scale: float = 1.0
    seeded_bias: float = 0.0


class Lrn(NamedTuple):
    """y = x / (k + alpha / size * sum of x^2 over `size` channels around this one) ^ beta."""

    name: str
    size: int = 5
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 1.0
    inputs: Inputs = ()


class MeanOverImage(NamedTuple):
    """(channels, height, width) to (channels,): the mean over each channel."""

    name: str
    inputs: Inputs = ()


ImageLayer = Union[
    Conv,
    DilatedConv,
    TransposedConv,
    MaxPool,
    AvgPool,
    BatchNorm,
    Lrn,
    MeanOverImage,
]
