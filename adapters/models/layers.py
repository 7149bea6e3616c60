"""The kinds of layers, losses and inputs that a model is written in, as data.

Shapes are of one example, without the batch: images (channels, height, width), vectors (n,),
sequences (time, n). Convolution is cross-correlation. Canonical parameter layouts: convolution
(out, in / groups, height, width), transposed convolution (in, out, height, width), linear
(out, in), LSTM gates i, f, g, o and GRU gates r, z, n one after another along the first axis.
"""

from typing import NamedTuple, Tuple, Union

Inputs = Tuple[str, ...]  # names of earlier layers; empty: the layer before


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


class Linear(NamedTuple):
    """y = x weight^T + bias, over the flattened example. weight (units, in), bias (units,)."""

    name: str
    units: int
    bias: bool = True
    inputs: Inputs = ()
    frozen: bool = False  # frozen parameters get no gradient


class MaxPool(NamedTuple):
    """The largest value of each window; no padding, no window that hangs over the edge."""

    name: str
    size: int
    stride: int
    inputs: Inputs = ()


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
    """

    name: str
    epsilon: float = 1e-5
    inputs: Inputs = ()


class Relu(NamedTuple):
    name: str
    inputs: Inputs = ()


class Tanh(NamedTuple):
    name: str
    inputs: Inputs = ()


class Sigmoid(NamedTuple):
    name: str
    inputs: Inputs = ()


class Lrn(NamedTuple):
    """y = x / (k + alpha / size * sum of x^2 over `size` channels around this one) ^ beta."""

    name: str
    size: int = 5
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 1.0
    inputs: Inputs = ()


class Dropout(NamedTuple):
    """Zero with probability `rate`, else divided by 1 - rate. Active while timed, off to verify."""

    name: str
    rate: float
    inputs: Inputs = ()


class Embedding(NamedTuple):
    """Token to vector. Parameter weight (vocabulary, units); its gradient is dense."""

    name: str
    vocabulary: int
    units: int
    inputs: Inputs = ()


class Lstm(NamedTuple):
    """One layer, gates i, f, g, o, no peepholes, zero initial state. Masked steps hold c and h.

    Parameters weight_input (4 units, in), weight_hidden (4 units, units), bias (4 units,).
    """

    name: str
    units: int
    inputs: Inputs = ()


class Gru(NamedTuple):
    """One layer, zero initial state; reset acts behind the hidden product, as in cuDNN.

    r = sigmoid(Wr x + br + Ur h + cr), z = sigmoid(Wz x + bz + Uz h + cz),
    n = tanh(Wn x + bn + r * (Un h + cn)), h' = (1 - z) * n + z * h. Masked steps hold h.
    Parameters, gates r, z, n: weight_input W (3 units, in), weight_hidden U (3 units, units), bias
    b (3 units,), bias_hidden c (3 units,).
    """

    name: str
    units: int
    inputs: Inputs = ()


class Attention(NamedTuple):
    """Self-attention over a sequence: (time, n) to (time, n), in `heads` heads of d = n / heads.

    Query, key and value are x times a third of weight_input (3 n, n) each, in this order; head k
    has their values k d .. (k + 1) d. A head gives softmax(query key^T / sqrt(d)) value, the
    softmax over the true steps alone; behind the heads, side by side, stands weight_output (n, n).
    No biases: a key's would have no gradient. Steps beyond an example's length hold anything.
    """

    name: str
    heads: int
    inputs: Inputs = ()


class Loop(NamedTuple):
    """x <- tanh(x weight^T + bias), `steps` times over with the same parameters, on vectors (n,).

    In the framework's own loop where it has one. Parameters weight (n, n), bias (n,).
    """

    name: str
    steps: int
    inputs: Inputs = ()


class Add(NamedTuple):
    """The sum of two layers of one shape. inputs: both names."""

    name: str
    inputs: Inputs


class Custom(NamedTuple):
    """An operation of the user's own: y = x |x|, and backward of_x = of_y * 2 |x| / (1 + |x|).

    That is not the derivative: only the framework's mechanism for own operations gets it right.
    """

    name: str
    inputs: Inputs = ()


class MeanOverTime(NamedTuple):
    """(time, n) to (n,): the mean over each example's true length."""

    name: str
    inputs: Inputs = ()


class Duplicate(NamedTuple):
    """A copy of the values in other memory: the operation that `copy` times."""

    name: str
    inputs: Inputs = ()


Layer = Union[
    Conv,
    DilatedConv,
    TransposedConv,
    Linear,
    MaxPool,
    AvgPool,
    BatchNorm,
    Relu,
    Tanh,
    Sigmoid,
    Lrn,
    Dropout,
    Embedding,
    Lstm,
    Gru,
    Attention,
    Loop,
    Add,
    Custom,
    MeanOverTime,
    Duplicate,
]


class SoftmaxCrossEntropy(NamedTuple):
    """Mean over the batch, in nats, of the last layer against the labels."""


class SquaredError(NamedTuple):
    """Sum of (last layer - target)^2 / (2 batch).

    target: a layer, which gets no gradient; `input`, the example itself; or `zero`.
    """

    target: str


class NoLoss(NamedTuple):
    """The output itself is the result; only `forward` is timed, and checked value by value."""


Loss = Union[SoftmaxCrossEntropy, SquaredError, NoLoss]


class Images(NamedTuple):
    channels: int
    height: int
    width: int


class Vectors(NamedTuple):
    """Values from a standard normal, or uniform in 0..1."""

    size: int
    distribution: str  # `normal` or `uniform`


class Sequences(NamedTuple):
    """Token sequences. lengths: of all examples, ascending; batches take them in order."""

    vocabulary: int
    lengths: Tuple[int, ...]


Input = Union[Images, Vectors, Sequences]


class Model(NamedTuple):
    """A network as data. The last layer feeds the loss."""

    name: str
    about: str
    input: Input
    layers: Tuple[Layer, ...]
    loss: Loss
    classes: int  # labels are uniform in 0 .. classes - 1; 0: no labels
    batch_size: int  # the default on a CPU
    gpu_batch_size: int

    def default_batch_size(self, device: str) -> int:
        return self.gpu_batch_size if device == "gpu" else self.batch_size
