"""Layers and losses in Chainer: an entry of LAYERS or LOSSES for each kind.

LAYERS make a link, or a function where there are no parameters. Both are called with what the layer
reads. A sequence is a list of arrays (time, n), one per example, each as long as it truly is.
"""

import chainer
import chainer.functions as F
import chainer.links as L
import numpy
from chainer.backends import intel64

from velodrome.adapters.models import layers as kinds
from velodrome.adapters.models import shapes


class EmbedSequences(L.EmbedID):
    """Embeds the tokens of all examples, given with their ends, to a list."""

    def forward(self, x):
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


class AttentionLink(chainer.Chain):
    """Self-attention: Chainer has none. Examples are padded, and padding gets no share."""

    def __init__(self, layer, units):
        super(AttentionLink, self).__init__()
        self._heads = layer.heads
        with self.init_scope():
            self.together = L.Linear(units, 3 * units, nobias=True, initialW=0)
            self.out = L.Linear(units, units, nobias=True, initialW=0)

    def forward(self, xs):
        lengths = [len(x) for x in xs]
        padded = F.pad_sequence(xs)
        batch, time, units = padded.shape
        parts = self.together(padded, n_batch_axes=2)
        parts = parts.reshape(batch, time, 3, self._heads, units // self._heads)
        q, k, v = (part for part in F.separate(F.transpose(parts, (2, 0, 3, 1, 4)), axis=0))
        scores = F.matmul(q, k, transb=True) / (units // self._heads) ** 0.5
        true = (numpy.arange(time) < numpy.array(lengths)[:, None])[:, None, None, :]
        true = numpy.broadcast_to(true, scores.shape)
        low = numpy.full(scores.shape, -1e30, scores.dtype)
        mixed = F.matmul(F.softmax(F.where(true, scores, low), axis=3), v)
        mixed = F.transpose(mixed, (0, 2, 1, 3)).reshape(batch, time, units)
        found = self.out(mixed, n_batch_axes=2)
        return [example[:length] for example, length in zip(F.separate(found, axis=0), lengths)]


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


def _lrn(layer, source):
    """Make LRN; Chainer does not divide alpha by the size."""
    return lambda x: F.local_response_normalization(
        x, layer.size, layer.k, layer.alpha / layer.size, layer.beta
    )


def _mean_over_time(xs):
    lengths = numpy.array([[len(x)] for x in xs], numpy.float32)
    return F.sum(F.pad_sequence(xs), axis=1) / numpy.broadcast_to(
        lengths, (len(xs), xs[0].shape[1])
    )


# Per kind of layer: (layer, shape of one example before it) -> a link or a function.
LAYERS = {
    kinds.Conv: lambda layer, source: _conv(
        layer, source, stride=layer.stride, groups=layer.groups
    ),
    kinds.DilatedConv: lambda layer, source: _conv(layer, source, dilate=layer.dilation),
    kinds.TransposedConv: lambda layer, source: L.Deconvolution2D(
        source[0], layer.maps, layer.kernel, layer.stride, layer.padding, initialW=0
    ),
    kinds.Linear: _linear,
    kinds.MaxPool: lambda layer, source: (
        lambda x: F.max_pooling_2d(x, layer.size, layer.stride, cover_all=False)
    ),
    kinds.AvgPool: lambda layer, source: (
        lambda x: F.average_pooling_2d(x, layer.size, layer.stride)
    ),
    kinds.BatchNorm: lambda layer, source: L.BatchNormalization(source[0], eps=layer.epsilon),
    kinds.Relu: lambda layer, source: F.relu,
    kinds.Tanh: lambda layer, source: F.tanh,
    kinds.Sigmoid: lambda layer, source: F.sigmoid,
    kinds.Lrn: _lrn,
    kinds.Dropout: lambda layer, source: DropoutFunction(layer),
    kinds.Embedding: lambda layer, source: EmbedSequences(layer.vocabulary, layer.units, 0),
    kinds.Lstm: lambda layer, source: LstmLink(1, source[-1], layer.units, 0.0, initialW=0),
    kinds.Gru: lambda layer, source: GruLink(1, source[-1], layer.units, 0.0, initialW=0),
    kinds.Attention: lambda layer, source: AttentionLink(layer, source[-1]),
    kinds.Loop: lambda layer, source: LoopLink(layer, source[-1]),
    kinds.Add: lambda layer, source: lambda left, right: left + right,
    kinds.Custom: lambda layer, source: lambda x: CustomFunction().apply((x,))[0],
    kinds.MeanOverTime: lambda layer, source: _mean_over_time,
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
    if isinstance(link, AttentionLink):
        return {"weight_input": [link.together.W], "weight_output": [link.out.W]}
    if isinstance(link, L.BatchNormalization):
        return {"scale": [link.gamma], "bias": [link.beta]}
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


# Per kind of loss, the function: it reads the last layer's output, then labels or target.
LOSSES = {
    kinds.SoftmaxCrossEntropy: F.softmax_cross_entropy,
    kinds.SquaredError: _squared_error,
    kinds.NoLoss: lambda output: output,
}
