"""Layers in Gluon that compute each step of a sequence, (time, batch, n)."""

import math

from mxnet.gluon import HybridBlock, nn

GELU_FACTOR, GELU_CUBE = math.sqrt(2.0 / math.pi), 0.044715


class LayerNormBlock(nn.LayerNorm):
    ATTRIBUTES = {"scale": "gamma", "bias": "beta"}


class RmsNormBlock(HybridBlock):
    """Normalization by the root mean square, of MXNet's pointwise operations."""

    def __init__(self, layer, units):
        super(RmsNormBlock, self).__init__()
        self._epsilon = layer.epsilon
        with self.name_scope():
            self.scale = self.params.get("scale", shape=(units,))

    def hybrid_forward(self, F, x, scale):
        mean = F.mean(F.square(x), axis=-1, keepdims=True)
        return F.broadcast_mul(F.broadcast_mul(x, F.rsqrt(mean + self._epsilon)), scale)


class TiedLinearBlock(HybridBlock):
    """A product with an embedding's weight; the network sets `weight` to that parameter."""

    def hybrid_forward(self, F, x, weight):
        vocabulary = self.weight.shape[0]
        return F.FullyConnected(x, weight, num_hidden=vocabulary, flatten=False, no_bias=True)


class LearnedPositionsBlock(HybridBlock):
    def __init__(self, layer, units):
        super(LearnedPositionsBlock, self).__init__()
        with self.name_scope():
            self.weight = self.params.get("weight", shape=(layer.rows, units))

    def hybrid_forward(self, F, x, weight):
        rows = F.slice_like(weight, x, axes=(0,))
        return F.broadcast_add(x, F.expand_dims(rows, 1))


class ClassTokenBlock(HybridBlock):
    def __init__(self, units):
        super(ClassTokenBlock, self).__init__()
        with self.name_scope():
            self.weight = self.params.get("weight", shape=(units,))

    def hybrid_forward(self, F, x, weight):
        token = F.reshape(weight, (1, 1, -1))
        return F.concat(F.broadcast_like(token, x, lhs_axes=(1,), rhs_axes=(1,)), x, dim=0)


def make_patches(F, x):
    """Turn (batch, n, height, width) into (time, batch, n)."""
    return F.transpose(F.reshape(x, (0, 0, -1)), (2, 0, 1))


def take_first_step(F, x):
    return F.squeeze(F.slice_axis(x, axis=0, begin=0, end=1), axis=0)


def compute_gelu(F, x):
    """Compute GELU in its tanh form: (1 + tanh(z)) / 2 is sigmoid(2 z)."""
    doubled = x * (F.square(x) * (2 * GELU_FACTOR * GELU_CUBE) + 2 * GELU_FACTOR)
    return x * F.sigmoid(doubled)


def mean_over_time(F, x, lengths=None):
    """Average each example's true steps; all without lengths."""
    if lengths is None:
        return F.mean(x, axis=0)
    true = F.SequenceMask(x, lengths, use_sequence_length=True)
    return F.broadcast_div(F.sum(true, axis=0), F.expand_dims(lengths, 1))
