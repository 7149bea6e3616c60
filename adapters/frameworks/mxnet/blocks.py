"""Layers and losses in Gluon: an entry of BLOCKS or LOSSES for each kind."""

import mxnet
from mxnet.gluon import HybridBlock, nn, rnn

from velodrome.adapters.frameworks.mxnet import steps
from velodrome.adapters.frameworks.mxnet.attention import make_attention
from velodrome.adapters.models import layers as kinds
from velodrome.adapters.models import shapes

CUSTOM = "velodrome_custom"
MANY_CLASSES = 10000


class Recurrent(object):
    """A Gluon recurrent layer, from (time, batch, in) to h (time, batch, units).

    Runs through the padding, which stands behind an example's true steps and so changes none of
    them; MeanOverTime leaves it out, and no gradient comes from it. With use_sequence_length a
    gradient takes a sixth longer on one core, and a step less than nothing (MXNet 1.9.1).
    """

    ATTRIBUTES = {
        "weight_input": "l0_i2h_weight",
        "weight_hidden": "l0_h2h_weight",
        "bias": "l0_i2h_bias",
        "bias_hidden": "l0_h2h_bias",
    }


class LstmBlock(Recurrent, rnn.LSTM):
    """An LSTM. Gates are i, f, g, o; the second bias stays zero."""


class GruBlock(Recurrent, rnn.GRU):
    """A GRU. Gates are r, z, n."""


class BatchNormBlock(nn.BatchNorm):
    ATTRIBUTES = {"scale": "gamma", "bias": "beta"}


class CopyBlock(HybridBlock):
    """A copy into reused memory: in fresh memory it takes ten times as long on a CPU.

    What is hybridized always gives fresh memory.
    """

    _kept = None

    def forward(self, x):
        if self._kept is None or self._kept.shape != x.shape:
            self._kept = mxnet.nd.zeros_like(x)
        return mxnet.nd.identity(x, out=self._kept)


class LoopBlock(HybridBlock):
    """A loop by foreach, which needs an input: a row of zeros per step, which is not read."""

    def __init__(self, layer, units):
        super(LoopBlock, self).__init__()
        self._steps, self._units = layer.steps, units
        with self.name_scope():
            self.weight = self.params.get("weight", shape=(units, units))
            self.bias = self.params.get("bias", shape=(units,))

    def hybrid_forward(self, F, x, weight, bias):
        def step(row, state):
            state = F.tanh(F.FullyConnected(state, weight, bias, num_hidden=self._units))
            return row, state

        return F.contrib.foreach(step, F.zeros((self._steps, 1)), x)[1]


class OwnOperation(mxnet.operator.CustomOp):
    """y = x |x|, and backward of_x = of_y * 2 |x| / (1 + |x|)."""

    def forward(self, is_train, req, in_data, out_data, aux):
        self.assign(out_data[0], req[0], in_data[0] * in_data[0].abs())

    def backward(self, req, out_grad, in_data, out_data, in_grad, aux):
        size = in_data[0].abs()
        self.assign(in_grad[0], req[0], out_grad[0] * 2.0 * size / (1.0 + size))


@mxnet.operator.register(CUSTOM)
class OwnOperationProp(mxnet.operator.CustomOpProp):
    def create_operator(self, ctx, in_shapes, in_dtypes):
        return OwnOperation()


def _conv(layer, source, **more):
    return nn.Conv2D(layer.maps, layer.kernel, padding=layer.padding, in_channels=source[0], **more)


def _transposed_conv(layer, source):
    return nn.Conv2DTranspose(
        layer.maps, layer.kernel, layer.stride, layer.padding, in_channels=source[0]
    )


def _linear(layer, source):
    return nn.Dense(layer.units, use_bias=layer.bias, in_units=shapes.count_values(source))


def _step_linear(layer, source):
    return nn.Dense(layer.units, use_bias=layer.bias, flatten=False, in_units=source[-1])


def _mean_over_image(F, x):
    pooled = F.Pooling(x, kernel=(1, 1), global_pool=True, pool_type="avg")
    return F.reshape(pooled, (0, 0))


def _lrn(layer, source):
    """Make LRN, with a reshape to the same shape that gives it its gradient in the plain layout.

    In oneDNN's layout of convolutions the gradients of neighbouring channels are misplaced:
    gradients before LRN were off by 4e-4 in AlexNet (MXNet 1.9.1).
    """

    def call(F, x):
        y = F.LRN(x, nsize=layer.size, alpha=layer.alpha, beta=layer.beta, knorm=layer.k)
        return F.reshape(y, shape=(0, 0, -1, 0))

    return nn.HybridLambda(call)


# Per kind of layer, what makes its block: (layer, shape of one example before it) -> block.
BLOCKS = {
    kinds.Conv: lambda layer, source: _conv(
        layer, source, strides=layer.stride, groups=layer.groups, use_bias=layer.bias
    ),
    kinds.DilatedConv: lambda layer, source: _conv(layer, source, dilation=layer.dilation),
    kinds.TransposedConv: _transposed_conv,
    kinds.Linear: _linear,
    kinds.MaxPool: lambda layer, source: nn.MaxPool2D(layer.size, layer.stride, layer.padding),
    kinds.AvgPool: lambda layer, source: nn.AvgPool2D(layer.size, layer.stride),
    kinds.BatchNorm: lambda layer, source: BatchNormBlock(
        epsilon=layer.epsilon, in_channels=source[0]
    ),
    kinds.Relu: lambda layer, source: nn.Activation("relu"),
    kinds.Tanh: lambda layer, source: nn.Activation("tanh"),
    kinds.Sigmoid: lambda layer, source: nn.Activation("sigmoid"),
    kinds.Gelu: lambda layer, source: nn.HybridLambda(steps.compute_gelu),
    kinds.Silu: lambda layer, source: nn.Swish(),
    kinds.MeanOverImage: lambda layer, source: nn.HybridLambda(_mean_over_image),
    kinds.Lrn: _lrn,
    kinds.Dropout: lambda layer, source: nn.Dropout(layer.rate),
    kinds.Embedding: lambda layer, source: nn.Embedding(layer.vocabulary, layer.units),
    kinds.Lstm: lambda layer, source: LstmBlock(layer.units, input_size=source[-1]),
    kinds.Gru: lambda layer, source: GruBlock(layer.units, input_size=source[-1]),
    kinds.Attention: make_attention,
    kinds.Loop: lambda layer, source: LoopBlock(layer, source[-1]),
    kinds.Add: lambda layer, source: nn.HybridLambda(lambda F, left, right: left + right),
    kinds.Multiply: lambda layer, source: nn.HybridLambda(lambda F, left, right: left * right),
    kinds.Custom: lambda layer, source: nn.HybridLambda(lambda F, x: F.Custom(x, op_type=CUSTOM)),
    kinds.MeanOverTime: lambda layer, source: nn.HybridLambda(steps.mean_over_time),
    kinds.StepLinear: _step_linear,
    kinds.TiedLinear: lambda layer, source: steps.TiedLinearBlock(),
    kinds.LayerNorm: lambda layer, source: steps.LayerNormBlock(
        epsilon=layer.epsilon, in_channels=source[-1]
    ),
    kinds.RmsNorm: lambda layer, source: steps.RmsNormBlock(layer, source[-1]),
    kinds.LearnedPositions: lambda layer, source: steps.LearnedPositionsBlock(layer, source[-1]),
    kinds.Patches: lambda layer, source: nn.HybridLambda(steps.make_patches),
    kinds.ClassToken: lambda layer, source: steps.ClassTokenBlock(source[-1]),
    kinds.FirstStep: lambda layer, source: nn.HybridLambda(steps.take_first_step),
    kinds.Duplicate: lambda layer, source: CopyBlock(),
}


class CrossEntropyBlock(HybridBlock):
    """The mean of the loss over the batch, or over all its steps, from (logits, labels).

    The logarithm of a softmax is MXNet's own kernel: by default it is oneDNN's, whose approximation
    moves the loss of 16 examples by up to 2.4e-6 and their gradient by 2.9e-6, at the same speed.
    To name a temperature, which oneDNN has not, is what chooses. MXNet's own: 8e-8 and 7e-8. It
    adds the powers of all classes in single precision, though: over 50257 words its loss is off by
    up to 3e-6 and its gradient by 1e-5, oneDNN's by 1e-7 and 2e-6, in a quarter of the time.
    """

    def __init__(self, classes):
        super(CrossEntropyBlock, self).__init__()
        self._choice = {"temperature": 1.0} if classes < MANY_CLASSES else {}

    def hybrid_forward(self, F, output, labels):
        logarithms = F.log_softmax(output, axis=-1, **self._choice)
        return -F.mean(F.pick(logarithms, labels, axis=-1))


class SquaredErrorBlock(HybridBlock):
    """Half the sum of the squared errors, over the batch. batch_axis: 1 if time is first."""

    def __init__(self, batch_axis):
        super(SquaredErrorBlock, self).__init__()
        self._batch_axis = batch_axis

    def hybrid_forward(self, F, output, target=None):
        if target is not None:
            output = output - F.reshape_like(F.BlockGrad(target), output)
        return F.mean(F.sum(F.square(output), axis=self._batch_axis, exclude=True)) / 2


# Per kind of loss, what makes its block: (loss, shape of one example of the last layer) -> block,
# which reads the last layer's output, then labels or target.
LOSSES = {
    kinds.SoftmaxCrossEntropy: lambda loss, last: CrossEntropyBlock(last[-1]),
    kinds.StepCrossEntropy: lambda loss, last: CrossEntropyBlock(last[-1]),
    kinds.SquaredError: lambda loss, last: SquaredErrorBlock(1 if len(last) == 2 else 0),
    kinds.NoLoss: lambda loss, last: nn.HybridLambda(lambda F, output: output),
}
