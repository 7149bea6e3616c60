"""Kinds of layers as layers of Caffe: functions of the layer, its input and the net."""

import math

from caffe import layers as L
from caffe import params as P

from velodrome.adapters.frameworks.caffe import steps
from velodrome.adapters.frameworks.caffe.attention import attention
from velodrome.adapters.frameworks.caffe.composed import gru, loop, name_of, product
from velodrome.adapters.models import layers as kinds

STATISTICS = "_running"  # behind the name of a batch normalization: its statistics' layer


def convolution(layer, bottom, net):
    return L.Convolution(
        bottom,
        num_output=layer.maps,
        kernel_size=layer.kernel,
        stride=layer.stride,
        pad=layer.padding,
        group=layer.groups,
        bias_term=layer.bias,
        **freeze(layer, 1 + layer.bias),
    )


def dilated_convolution(layer, bottom, net):
    return L.Convolution(
        bottom,
        num_output=layer.maps,
        kernel_size=layer.kernel,
        dilation=layer.dilation,
        pad=layer.padding,
    )


def transposed_convolution(layer, bottom, net):
    return L.Deconvolution(
        bottom,
        convolution_param=dict(
            num_output=layer.maps,
            kernel_size=layer.kernel,
            stride=layer.stride,
            pad=layer.padding,
        ),
    )


def linear(layer, bottom, net):
    return L.InnerProduct(
        bottom, num_output=layer.units, bias_term=layer.bias, **freeze(layer, 1 + layer.bias)
    )


def max_pooling(layer, bottom, net):
    return _pool(layer, bottom, P.Pooling.MAX, layer.padding)


def average_pooling(layer, bottom, net):
    return _pool(layer, bottom, P.Pooling.AVE, 0)


def _pool(layer, bottom, method, padding):
    """Make a pooling without windows that hang over the edge, which Caffe has by default."""
    return L.Pooling(
        bottom,
        pool=method,
        kernel_size=layer.size,
        stride=layer.stride,
        pad=padding,
        round_mode=P.Pooling.FLOOR,
    )


def mean_over_image(layer, bottom, net):
    return L.Pooling(bottom, pool=P.Pooling.AVE, global_pooling=True)


def batch_normalization(layer, bottom, net):
    """Make two layers: Caffe's normalization has its scale and bias in a separate layer.

    In evaluation the first one is named, since its running statistics are given, and no training
    net has that name, whose averages it would share.
    """
    normal = L.BatchNorm(bottom, eps=layer.epsilon, use_global_stats=net.evaluates)
    if net.evaluates:
        net.spec[layer.name + STATISTICS] = normal
    return L.Scale(normal, bias_term=True)


def relu(layer, bottom, net):
    return L.ReLU(bottom, in_place=net.in_place(layer))


def tanh(layer, bottom, net):
    return L.TanH(bottom, in_place=net.in_place(layer))


def sigmoid(layer, bottom, net):
    return L.Sigmoid(bottom, in_place=net.in_place(layer))


def gelu(layer, bottom, net):
    """Compose x / 2 (1 + tanh(c x (1 + 0.044715 x^2))), without a power whose gradient divides."""
    factor = math.sqrt(2.0 / math.pi)
    square = L.Power(bottom, power=2.0)
    inner = product(bottom, L.Power(square, scale=factor * 0.044715, shift=factor))
    return product(bottom, L.Power(L.TanH(inner), scale=0.5, shift=0.5))


def silu(layer, bottom, net):
    return L.Swish(bottom)


def normalization(layer, bottom, net):
    return L.LRN(bottom, local_size=layer.size, alpha=layer.alpha, beta=layer.beta, k=layer.k)


def dropout(layer, bottom, net):
    """Make the layer, or leave it out when switched off: Caffe has no rate of 0."""
    if net.use.dropout == "left out":
        return bottom
    return L.Dropout(bottom, dropout_ratio=layer.rate, in_place=net.in_place(layer))


def embedding(layer, bottom, net):
    return L.Embed(
        bottom,
        input_dim=layer.vocabulary,
        num_output=layer.units,
        bias_term=False,
        **(steps.share(layer.name) if net.is_tied(layer) else {}),
    )


def lstm(layer, bottom, net):
    """Make an LSTM. Steps continue behind an example's end; nothing reads them.

    Its name is unique to its net: if Caffe shared the layer between nets, the copies of its weights
    inside the unrolled net would not follow.
    """
    name = name_of(layer.name, net.label)
    return L.LSTM(bottom, net.spec.cont, name=name, recurrent_param=dict(num_output=layer.units))


def mean_over_time(layer, bottom, net):
    """Scale each step by its share of the mean times all steps, then average all steps.

    The values form an image of steps x (examples x units), since Caffe pools only images.
    """
    shared = L.Scale(bottom, net.spec.share, axis=0)
    image = L.Reshape(shared, shape=dict(dim=[1, 1, net.steps, -1]))
    mean = L.Pooling(image, pool=P.Pooling.AVE, kernel_h=net.steps, kernel_w=1)
    return L.Reshape(mean, shape=dict(dim=[net.examples, -1]))


def addition(layer, bottoms, net):
    return L.Eltwise(*bottoms, operation=P.Eltwise.SUM)


def multiplication(layer, bottoms, net):
    return product(*bottoms)


def custom(layer, bottom, net):
    return L.Python(
        bottom, module="velodrome.adapters.frameworks.caffe.custom_op", layer="SignedSquareLayer"
    )


def duplicate(layer, bottom, net):
    """Copy by a power of 1: Split and a Concat of one input share memory."""
    return L.Power(bottom, power=1.0, scale=1.0, shift=0.0)


def freeze(layer, blobs):
    """Return options that freeze a layer: Caffe goes back only to parameters that learn."""
    return dict(param=[dict(lr_mult=0)] * blobs) if layer.frozen else {}


LAYERS = {
    kinds.Conv: convolution,
    kinds.DilatedConv: dilated_convolution,
    kinds.TransposedConv: transposed_convolution,
    kinds.Linear: linear,
    kinds.MaxPool: max_pooling,
    kinds.AvgPool: average_pooling,
    kinds.BatchNorm: batch_normalization,
    kinds.Relu: relu,
    kinds.Tanh: tanh,
    kinds.Sigmoid: sigmoid,
    kinds.Lrn: normalization,
    kinds.Dropout: dropout,
    kinds.Embedding: embedding,
    kinds.Lstm: lstm,
    kinds.Gru: gru,
    kinds.Attention: attention,
    kinds.MeanOverTime: mean_over_time,
    kinds.Loop: loop,
    kinds.Add: addition,
    kinds.Custom: custom,
    kinds.Duplicate: duplicate,
    kinds.Gelu: gelu,
    kinds.Silu: silu,
    kinds.Multiply: multiplication,
    kinds.MeanOverImage: mean_over_image,
    kinds.StepLinear: steps.linear,
    kinds.TiedLinear: steps.tied_linear,
    kinds.LayerNorm: steps.layer_norm,
    kinds.RmsNorm: steps.rms_norm,
    kinds.LearnedPositions: steps.positions,
    kinds.Patches: steps.patches,
    kinds.ClassToken: steps.class_token,
    kinds.FirstStep: steps.first,
}
