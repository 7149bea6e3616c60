"""Layers and losses in neon: an entry of LAYERS or COSTS for each kind.

What neon lacks is a layer or a cost of its own kind, written with the backend's operations.
"""

from neon.initializers import Constant
from neon.layers import layer as neon
from neon.layers.recurrent import LSTM, get_steps, interpret_in_shape
from neon.transforms import CrossEntropyMulti, Logistic, Rectlin, Softmax, Tanh
from neon.transforms.cost import Cost

from velodrome.adapters.contract import Unsupported
from velodrome.adapters.models import layers as kinds

UNFILLED = Constant(0.0)  # neon wants an initializer; the weights come later


class MeanOverTimeLayer(neon.Layer):
    """(n, time x batch) to (n, batch), over the true lengths: RecurrentMean knows none."""

    def __init__(self):
        super(MeanOverTimeLayer, self).__init__()
        self.owns_delta = True
        self.shares = None  # (1, time x batch): 1 / length within an example, 0 behind it

    def configure(self, in_obj):
        super(MeanOverTimeLayer, self).configure(in_obj)
        self.out_shape, _ = interpret_in_shape(self.in_shape)
        return self

    def set_deltas(self, delta_buffers):
        super(MeanOverTimeLayer, self).set_deltas(delta_buffers)
        self.delta_steps = get_steps(self.deltas, self.in_shape)

    def fprop(self, inputs, inference=False):  # noqa: FBT002 - neon's signature
        shares = get_steps(self.shares, (1, self.in_shape[1]))
        self.outputs.fill(0)
        for step, share in zip(get_steps(inputs, self.in_shape), shares):
            self.outputs[:] = self.outputs + step * share
        return self.outputs

    def bprop(self, error, alpha=1.0, beta=0.0):
        shares = get_steps(self.shares, (1, self.in_shape[1]))
        for delta, share in zip(self.delta_steps, shares):
            delta[:] = error * share
        return self.deltas


class CopyLayer(neon.Layer):
    """A copy into the layer's own buffer."""

    def configure(self, in_obj):
        super(CopyLayer, self).configure(in_obj)
        self.out_shape = self.in_shape
        return self

    def fprop(self, inputs, inference=False):  # noqa: FBT002 - neon's signature
        self.outputs[:] = inputs
        return self.outputs

    def bprop(self, error, alpha=1.0, beta=0.0):
        return error


class SignedSquareLayer(neon.Layer):
    """kinds.Custom, as a layer with both directions."""

    def __init__(self):
        super(SignedSquareLayer, self).__init__()
        self.owns_delta = True

    def configure(self, in_obj):
        super(SignedSquareLayer, self).configure(in_obj)
        self.out_shape = self.in_shape
        return self

    def fprop(self, inputs, inference=False):  # noqa: FBT002 - neon's signature
        self.inputs = inputs
        self.outputs[:] = inputs * self.be.absolute(inputs)
        return self.outputs

    def bprop(self, error, alpha=1.0, beta=0.0):
        size = self.be.absolute(self.inputs)
        self.deltas[:] = error * 2.0 * size / (1.0 + size)
        return self.deltas


class DropoutLayer(neon.Dropout):
    """Dropout that divides by the kept share in training, as neon does only for Caffe."""

    def __init__(self, rate):
        super(DropoutLayer, self).__init__(keep=1.0 - rate)
        self.rate = rate
        self.caffe_mode = True

    def set_rate(self, rate):
        self.keep, self._train_scaling = 1.0 - rate, 1.0 / (1.0 - rate)


class CrossEntropyCost(CrossEntropyMulti):
    """Cross entropy with the gradient of the mean: neon leaves the division to its optimizers."""

    def __init__(self, loss, batch_size):
        super(CrossEntropyCost, self).__init__(scale=1.0 / batch_size)


class StepCrossEntropyCost(CrossEntropyMulti):
    """Cross entropy with the gradient of the mean over all steps of the batch."""

    def __init__(self, loss, batch_size):
        super(StepCrossEntropyCost, self).__init__()

    def bprop(self, y, t):
        return (y - t) * (1.0 / y.shape[1])


class SquaredErrorCost(Cost):
    """Half the sum of squares, whose mean GeneralizedCost takes; without a target, of y itself."""

    def __init__(self, loss, batch_size):
        self._share = 1.0 / batch_size

    def __call__(self, y, t):
        return self.be.sum(self.be.square(y if t is None else y - t), axis=0) / 2.0

    def bprop(self, y, t):
        return (y if t is None else y - t) * self._share


def _conv(layer):
    if layer.groups != 1:
        raise Unsupported("neon has no grouped convolution")
    shape = (layer.kernel, layer.kernel, layer.maps)
    options = dict(strides=layer.stride, padding=layer.padding, init=UNFILLED)
    if layer.bias:
        return [neon.Convolution_bias(shape, bias=UNFILLED, **options)]
    return [neon.Convolution(shape, **options)]


def _dilated_conv(layer):
    return [
        neon.Convolution_bias(
            (layer.kernel, layer.kernel, layer.maps),
            padding=layer.padding,
            dilation=layer.dilation,
            init=UNFILLED,
            bias=UNFILLED,
        )
    ]


def _transposed_conv(layer):
    spread = neon.Deconvolution(
        (layer.kernel, layer.kernel, layer.maps),
        strides=layer.stride,
        padding=layer.padding,
        init=UNFILLED,
    )
    return [spread, neon.Bias(init=UNFILLED)]


def _linear(layer):
    product = neon.Linear(layer.units, init=UNFILLED)
    return [product, neon.Bias(init=UNFILLED)] if layer.bias else [product]


def _lrn(layer):
    if layer.k != 1.0:
        raise Unsupported("neon has LRN only with k = 1")
    return [neon.LRN(depth=layer.size, ascale=layer.alpha, bpower=layer.beta)]


def _lstm(layer):
    return [
        LSTM(
            layer.units,
            init=UNFILLED,
            activation=Tanh(),
            gate_activation=Logistic(),
            reset_cells=True,  # every batch begins with a zero state
        )
    ]


def _max_pool(layer):
    return [
        neon.Pooling(layer.size, op="max", strides=layer.stride, padding=layer.padding),
    ]


def _lacks(what):
    """Return an entry for a kind of layer that neon has not; what: the missing operation."""

    def refuse(layer):
        raise Unsupported("neon has no " + what)

    return refuse


# Per kind of layer, what makes neon's own layers of it: layer -> [layer].
LAYERS = {
    kinds.Conv: _conv,
    kinds.DilatedConv: _dilated_conv,
    kinds.TransposedConv: _transposed_conv,
    kinds.Linear: _linear,
    kinds.MaxPool: _max_pool,
    kinds.AvgPool: lambda layer: [neon.Pooling(layer.size, op="avg", strides=layer.stride)],
    kinds.MeanOverImage: lambda layer: [neon.Pooling("all", op="avg")],
    kinds.BatchNorm: lambda layer: [neon.BatchNorm(eps=layer.epsilon)],
    kinds.Relu: lambda layer: [neon.Activation(Rectlin())],
    kinds.Tanh: lambda layer: [neon.Activation(Tanh())],
    kinds.Sigmoid: lambda layer: [neon.Activation(Logistic())],
    kinds.Lrn: _lrn,
    kinds.Dropout: lambda layer: [DropoutLayer(layer.rate)],
    kinds.Embedding: lambda layer: [neon.LookupTable(layer.vocabulary, layer.units, init=UNFILLED)],
    kinds.Lstm: _lstm,
    kinds.Gru: _lacks("GRU with the reset after the hidden product, only before it"),
    kinds.StepLinear: _linear,
    kinds.TiedLinear: _lacks("layers that share a weight, and add its gradients up"),
    kinds.Attention: _lacks("product of two activations"),
    kinds.Multiply: _lacks("product of two activations"),
    kinds.LayerNorm: _lacks("normalization over the values of each step"),
    kinds.RmsNorm: _lacks("normalization over the values of each step"),
    kinds.Gelu: _lacks("GELU"),
    kinds.Silu: _lacks("SiLU"),
    kinds.LearnedPositions: _lacks("layer with parameters for each step"),
    kinds.Loop: _lacks("layer that is run again on its own output"),
    kinds.Custom: lambda layer: [SignedSquareLayer()],
    kinds.Add: lambda layer: [],  # joins earlier layers, see Network
    kinds.MeanOverTime: lambda layer: [MeanOverTimeLayer()],
    kinds.Duplicate: lambda layer: [CopyLayer()],
}

# Per kind of loss, the cost's class and the layers behind the model's last.
COSTS = {
    kinds.SoftmaxCrossEntropy: (CrossEntropyCost, lambda: [neon.Activation(Softmax())]),
    kinds.StepCrossEntropy: (StepCrossEntropyCost, lambda: [neon.Activation(Softmax())]),
    kinds.SquaredError: (SquaredErrorCost, lambda: []),
    kinds.NoLoss: (None, lambda: []),
}
