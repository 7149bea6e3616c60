"""The kinds of layers, losses and inputs that a model is written in, as data.

Shapes are of one example, without the batch: images (channels, height, width), vectors (n,),
sequences (time, n). Convolution is cross-correlation. Canonical parameter layouts: convolution
(out, in / groups, height, width), transposed convolution (in, out, height, width), linear
(out, in), LSTM gates i, f, g, o and GRU gates r, z, n one after another along the first axis.
"""

from typing import NamedTuple, Tuple, Union

from velodrome.adapters.models.code_kinds import Code as Code
from velodrome.adapters.models.code_kinds import CodeLoss as CodeLoss
from velodrome.adapters.models.image_layers import AvgPool as AvgPool
from velodrome.adapters.models.image_layers import BatchNorm as BatchNorm
from velodrome.adapters.models.image_layers import Conv as Conv
from velodrome.adapters.models.image_layers import DilatedConv as DilatedConv
from velodrome.adapters.models.image_layers import ImageLayer as ImageLayer
from velodrome.adapters.models.image_layers import Lrn as Lrn
from velodrome.adapters.models.image_layers import MaxPool as MaxPool
from velodrome.adapters.models.image_layers import MeanOverImage as MeanOverImage
from velodrome.adapters.models.image_layers import TransposedConv as TransposedConv
from velodrome.adapters.models.step_layers import Attention as Attention
from velodrome.adapters.models.step_layers import ClassToken as ClassToken
from velodrome.adapters.models.step_layers import Embedding as Embedding
from velodrome.adapters.models.step_layers import FirstStep as FirstStep
from velodrome.adapters.models.step_layers import Gru as Gru
from velodrome.adapters.models.step_layers import Inputs as Inputs
from velodrome.adapters.models.step_layers import LayerNorm as LayerNorm
from velodrome.adapters.models.step_layers import LearnedPositions as LearnedPositions
from velodrome.adapters.models.step_layers import Lstm as Lstm
from velodrome.adapters.models.step_layers import MeanOverTime as MeanOverTime
from velodrome.adapters.models.step_layers import Patches as Patches
from velodrome.adapters.models.step_layers import RmsNorm as RmsNorm
from velodrome.adapters.models.step_layers import StepLayer
from velodrome.adapters.models.step_layers import StepLinear as StepLinear
from velodrome.adapters.models.step_layers import TiedLinear as TiedLinear


class Linear(NamedTuple):
    """y = x weight^T + bias, over the flattened example. weight (units, in), bias (units,)."""

    name: str
    units: int
    bias: bool = True
    inputs: Inputs = ()
    frozen: bool = False  # frozen parameters get no gradient


class Relu(NamedTuple):
    name: str
    inputs: Inputs = ()


class Tanh(NamedTuple):
    name: str
    inputs: Inputs = ()


class Sigmoid(NamedTuple):
    name: str
    inputs: Inputs = ()


class Gelu(NamedTuple):
    """y = x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))), the tanh form of GELU."""

    name: str
    inputs: Inputs = ()


class Silu(NamedTuple):
    """y = x / (1 + e^-x)."""

    name: str
    inputs: Inputs = ()


class Dropout(NamedTuple):
    """Zero with probability `rate`, else divided by 1 - rate. Active while timed, off to verify."""

    name: str
    rate: float
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


class Multiply(NamedTuple):
    """The product of two layers of one shape, value by value. inputs: both names."""

    name: str
    inputs: Inputs


class Custom(NamedTuple):
    """An operation of the user's own: y = x |x|, and backward of_x = of_y * 2 |x| / (1 + |x|).

    That is not the derivative: only the framework's mechanism for own operations gets it right.
    """

    name: str
    inputs: Inputs = ()


class Duplicate(NamedTuple):
    """A copy of the values in other memory: the operation that `copy` times."""

    name: str
    inputs: Inputs = ()


class Collective(NamedTuple):
    """An operation of all devices together, each of which gives one row of the batch.

    operation: of velodrome.adapters.models.collectives, `allreduce` and others.
    """

    name: str
    operation: str
    inputs: Inputs = ()


class Transfer(NamedTuple):
    """A copy of each device's row of the batch from one memory to another.

    direction: `h2d`, `d2h` or `d2d`, to the next device or within one. is_pinned: the host's memory
    is page-locked.
    """

    name: str
    direction: str
    is_pinned: bool
    inputs: Inputs = ()


Layer = Union[
    Linear,
    Relu,
    Tanh,
    Sigmoid,
    Gelu,
    Silu,
    Dropout,
    Loop,
    Add,
    Multiply,
    Custom,
    Duplicate,
    Collective,
    Transfer,
    ImageLayer,
    StepLayer,
]


class SoftmaxCrossEntropy(NamedTuple):
    """Mean over the batch, in nats, of the last layer against the labels."""


class StepCrossEntropy(NamedTuple):
    """Mean over all steps of the batch, in nats, of the last layer (time, classes) per step."""


class SquaredError(NamedTuple):
    """Sum of (last layer - target)^2 / (2 batch).

    target: a layer, which gets no gradient; `input`, the example itself; or `zero`.
    """

    target: str


class NoLoss(NamedTuple):
    """The output itself is the result; only `forward` is timed, and checked value by value."""


Loss = Union[SoftmaxCrossEntropy, StepCrossEntropy, SquaredError, NoLoss, CodeLoss]


class Images(NamedTuple):
    channels: int
    height: int
    width: int


class Vectors(NamedTuple):
    """Values from a standard normal, uniform in 0..1, or whole numbers in 0..65536."""

    size: int
    distribution: str  # `normal`, `uniform` or `integers`


class Sequences(NamedTuple):
    """Token sequences. lengths: of all examples, ascending; batches take them in order."""

    vocabulary: int
    lengths: Tuple[int, ...]


class Tokens(NamedTuple):
    """Token sequences of one length, without padding."""

    vocabulary: int
    length: int


class States(NamedTuple):
    """Sequences of one length of vectors, (length, size), from a standard normal."""

    length: int
    size: int


Input = Union[Images, Vectors, Sequences, Tokens, States, Code]


class Model(NamedTuple):
    """A network as data. The last layer feeds the loss."""

    name: str
    about: str
    input: Input
    layers: Tuple[Layer, ...]
    loss: Loss
    classes: int  # labels, one per example or step, are uniform in 0 .. classes - 1; 0: none
    batch_size: int  # the default on a CPU
    gpu_batch_size: int

    @property
    def is_collective(self) -> bool:
        return any(isinstance(layer, Collective) for layer in self.layers)

    @property
    def is_transfer(self) -> bool:
        """True of a copy between memories."""
        return any(isinstance(layer, Transfer) for layer in self.layers)

    @property
    def has_row_per_device(self) -> bool:
        return self.is_collective or self.is_transfer

    def default_batch_size(self, device: str, devices: int = 1) -> int:
        """Return the default batch size of all devices together.

        Their number for collective operations and copies between memories.
        """
        if self.has_row_per_device:
            return devices
        return self.gpu_batch_size if device == "gpu" else self.batch_size
