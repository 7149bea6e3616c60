"""Layers and losses in Chainer: an entry of LAYERS or LOSSES for each kind.

LAYERS make a link, or a function where there are no parameters. Both are called with what the layer
reads, and those of MASKED with the lengths of the examples, too. Sequences are padded, (batch,
time, n); recurrent layers read and give a list of arrays (time, n), each as long as it truly is.
"""

import chainer
import chainer.functions as F
import chainer.links as L
import numpy
from chainer.backends import intel64

from velodrome.adapters.frameworks.chainer import steps
from velodrome.adapters.models import layers as kinds
from velodrome.adapters.models import shapes

MASKED = (kinds.Attention, kinds.MeanOverTime)


class EmbedSequences(L.EmbedID):
    """Embeds tokens (batch, time); or to a list those of all examples, given with their ends."""

    def forward(self, x):
        if not isinstance(x, tuple):
            return super(EmbedSequences, self).forward(x)
        words, ends = x
        return F.split_axis(super(EmbedSequences, self).forward(words), ends, axis=0)


class LstmLink(L.NStepLSTM):
    """An LSTM. Gates are i, f, g, o. The second bias stays zero."""

    def forward(self, xs):
        return super(LstmLink, self).forward(None, None, xs)[2]


class GruLink(L.NStepGRU):
    """A GRU. Gates are r, z, n."""

    def forward(self, xs):
        return super(GruLink, self).forward(None, xs)[1]


class LoopLink(L.Linear):
    """A loop of Python: Chainer records operations as they run."""

    def __init__(self, layer, units):
        super(LoopLink, self).__init__(units, units, initialW=0)
        self._steps = layer.steps

    def forward(self, x):
        for _ in range(self._steps):
            x = F.tanh(super(LoopLink, self).forward(x))
        return x


class CustomFunction(chainer.FunctionNode):
    """y = x |x|, and backward of_x = of_y * 2 |x| / (1 + |x|)."""

    def forward(self, inputs):
        self.retain_inputs((0,))
        return (inputs[0] * abs(inputs[0]),)

    def backward(self, indexes, gradients):
        size = abs(self.get_retained_inputs()[0])
        return (gradients[0] * 2.0 * size / (1.0 + size),)


class DropoutFunction(object):
    """Dropout whose rate is set to 0 to drop nothing.

    By NumPy also where there is iDeep, which draws the same again in every call of one second.
    """

    def __init__(self, layer):
        self.rate = layer.rate

    def __call__(self, x):
        if not self.rate:
            return x
        with chainer.using_config("use_ideep", "never"):
            return F.dropout(x, self.rate)


class CopyFunction(object):
    """A copy into reused memory: in fresh memory the CPU would pay a page fault per 4 KiB."""

    _kept = numpy.empty(0)

    def __call__(self, x):
        if self._kept.shape != x.shape:
            self._kept = numpy.empty_like(x)
        numpy.copyto(self._kept, x)
        return chainer.as_variable(self._kept)


def _conv(layer, source, **more):
    return L.Convolution2D(
        source[0], layer.maps, layer.kernel, pad=layer.padding, initialW=0, **more
    )


def _linear(layer, source):
    return L.Linear(shapes.count_values(source), layer.units, nobias=not layer.bias, initialW=0)


def _mean_over_image(layer, source):
    def call(x):
        return F.average_pooling_2d(x, source[1:], 1).reshape(len(x), -1)

    return call


def _lrn(layer, source):
    """Make LRN; Chainer does not divide alpha by the size."""
    return lambda x: F.local_response_normalization(
        x, layer.size, layer.k, layer.alpha / layer.size, layer.beta
    )


# Per kind of layer: (layer, shape of one example before it) -> a link or a function.
LAYERS = {
    kinds.Conv: lambda layer, source: _conv(
        layer, source, stride=layer.stride, groups=layer.groups, nobias=not layer.bias
    ),
    kinds.DilatedConv: lambda layer, source: _conv(layer, source, dilate=layer.dilation),
    kinds.TransposedConv: lambda layer, source: L.Deconvolution2D(
        source[0], layer.maps, layer.kernel, layer.stride, layer.padding, initialW=0
    ),
    kinds.Linear: _linear,
    kinds.MaxPool: lambda layer, source: (
        lambda x: F.max_pooling_2d(x, layer.size, layer.stride, layer.padding, cover_all=False)
    ),
    kinds.AvgPool: lambda layer, source: (
        lambda x: F.average_pooling_2d(x, layer.size, layer.stride)
    ),
    kinds.BatchNorm: lambda layer, source: L.BatchNormalization(source[0], eps=layer.epsilon),
    kinds.Relu: lambda layer, source: F.relu,
    kinds.Tanh: lambda layer, source: F.tanh,
    kinds.Sigmoid: lambda layer, source: F.sigmoid,
    kinds.Gelu: lambda layer, source: steps.compute_gelu,
    kinds.Silu: lambda layer, source: lambda x: x * F.sigmoid(x),
    kinds.MeanOverImage: _mean_over_image,
    kinds.Lrn: _lrn,
    kinds.Dropout: lambda layer, source: DropoutFunction(layer),
    kinds.Embedding: lambda layer, source: EmbedSequences(layer.vocabulary, layer.units, 0),
    kinds.Lstm: lambda layer, source: LstmLink(1, source[-1], layer.units, 0.0, initialW=0),
    kinds.Gru: lambda layer, source: GruLink(1, source[-1], layer.units, 0.0, initialW=0),
    kinds.Attention: steps.AttentionLink,
    kinds.Loop: lambda layer, source: LoopLink(layer, source[-1]),
    kinds.Add: lambda layer, source: lambda left, right: left + right,
    kinds.Multiply: lambda layer, source: lambda left, right: left * right,
    kinds.Custom: lambda layer, source: lambda x: CustomFunction().apply((x,))[0],
    kinds.MeanOverTime: lambda layer, source: steps.mean_over_time,
    kinds.StepLinear: lambda layer, source: steps.StepLinearLink(
        source[-1], layer.units, nobias=not layer.bias, initialW=0
    ),
    kinds.TiedLinear: lambda layer, source: steps.TiedLinearFunction(),
    kinds.LayerNorm: lambda layer, source: steps.LayerNormLink(source[-1], eps=layer.epsilon),
    kinds.RmsNorm: lambda layer, source: steps.RmsNormLink(layer, source[-1]),
    kinds.LearnedPositions: lambda layer, source: steps.LearnedPositionsLink(layer, source[-1]),
    kinds.Patches: lambda layer, source: steps.make_patches,
    kinds.ClassToken: lambda layer, source: steps.ClassTokenLink(source[-1]),
    kinds.FirstStep: lambda layer, source: lambda x: x[:, 0],
    kinds.Duplicate: lambda layer, source: CopyFunction(),
}


def parameters(link):
    """Map each role to the link's parameters that form it, concatenated along the first axis."""
    if isinstance(link, (LstmLink, GruLink)):
        (weights,), (biases,) = link.ws, link.bs
        half = len(weights) // 2
        return {
            "weight_input": weights[:half],
            "weight_hidden": weights[half:],
            "bias": biases[:half],
            "bias_hidden": biases[half:],
        }
    if isinstance(link, steps.AttentionLink):
        return {
            "weight_input": [link.together.W],
            "bias_input": [link.together.b],
            "weight_output": [link.out.W],
            "bias_output": [link.out.b],
        }
    if isinstance(link, (L.BatchNormalization, L.LayerNormalization, steps.RmsNormLink)):
        return {"scale": [link.gamma], "bias": [getattr(link, "beta", None)]}
    return {"weight": [link.W], "bias": [getattr(link, "b", None)]}


def on_host(array):
    """Return a NumPy array; with iDeep the argument may be an array of oneDNN."""
    return numpy.array(array) if isinstance(array, intel64.mdarray) else array


def _squared_error(output, target=None):
    if target is None:
        return F.sum(F.square(output)) / (2 * len(output))
    target = target.array if isinstance(target, chainer.Variable) else target
    values = output.size // len(output)
    return F.mean_squared_error(output, target.reshape(output.shape)) * (values / 2.0)


def _step_cross_entropy(output, labels):
    return F.softmax_cross_entropy(output.reshape(-1, output.shape[2]), labels.ravel())


# Per kind of loss, the function: it reads the last layer's output, then labels or target.
LOSSES = {
    kinds.SoftmaxCrossEntropy: F.softmax_cross_entropy,
    kinds.StepCrossEntropy: _step_cross_entropy,
    kinds.SquaredError: _squared_error,
    kinds.NoLoss: lambda output: output,
}
