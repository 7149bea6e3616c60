"""Layers in Chainer that read sequences padded to one length, (batch, time, n)."""

import math

import chainer
import chainer.functions as F
import chainer.links as L
import numpy

from velodrome.adapters.frameworks.rotary import compute_rotations

GELU_FACTOR, GELU_CUBE = math.sqrt(2.0 / math.pi), 0.044715
FAR = -1e30  # added to a score, it makes the share exactly 0


class StepLinearLink(L.Linear):
    def forward(self, x):
        return super(StepLinearLink, self).forward(x, n_batch_axes=2)


class TiedLinearFunction(object):
    """A product with an embedding's weight; the network sets `embedding` to that link."""

    embedding = None

    def __call__(self, x):
        return F.linear(x, self.embedding.W, n_batch_axes=2)


class LayerNormLink(L.LayerNormalization):
    """Chainer's own, which normalizes vectors (steps, n)."""

    def forward(self, x):
        flat = super(LayerNormLink, self).forward(x.reshape(-1, x.shape[2]))
        return flat.reshape(x.shape)


class RmsNormLink(chainer.Link):
    """Normalization by the root mean square, of Chainer's pointwise operations."""

    def __init__(self, layer, units):
        super(RmsNormLink, self).__init__()
        self._epsilon = layer.epsilon
        with self.init_scope():
            self.gamma = chainer.Parameter(0, (units,))

    def forward(self, x):
        mean = F.mean(F.square(x), axis=2, keepdims=True)
        return x * F.rsqrt(mean + self._epsilon) * self.gamma


class LearnedPositionsLink(chainer.Link):
    def __init__(self, layer, units):
        super(LearnedPositionsLink, self).__init__()
        with self.init_scope():
            self.W = chainer.Parameter(0, (layer.rows, units))

    def forward(self, x):
        return x + self.W[: x.shape[1]]


class ClassTokenLink(chainer.Link):
    def __init__(self, units):
        super(ClassTokenLink, self).__init__()
        with self.init_scope():
            self.W = chainer.Parameter(0, (units,))

    def forward(self, x):
        token = F.broadcast_to(self.W, (x.shape[0], 1, x.shape[2]))
        return F.concat((token, x), axis=1)


class AttentionLink(chainer.Chain):
    """Self-attention: Chainer has none. Queries that share a key are rows of one product."""

    def __init__(self, layer, source):
        super(AttentionLink, self).__init__()
        length, units = source
        self._layer, self._width = layer, units // layer.heads
        self._shared = layer.key_value_heads or layer.heads
        rows = (layer.heads + 2 * self._shared) * self._width
        with self.init_scope():
            self.together = StepLinearLink(units, rows, nobias=not layer.bias, initialW=0)
            self.out = StepLinearLink(units, units, nobias=not layer.bias, initialW=0)
        if layer.causal:
            self._causal = FAR * numpy.triu(numpy.ones((length, length), numpy.float32), 1)
        if layer.rotary:
            self._cosine, self._sine = (
                numpy.ascontiguousarray(table[:, None], numpy.float32)
                for table in compute_rotations(layer.rotary, length, self._width // 2)
            )

    def forward(self, x, lengths):
        """Compute attention. x (batch, time, n); lengths (batch,) or None."""
        heads, shared, width = self._layer.heads, self._shared, self._width
        batch, time, units = x.shape
        ends = [heads * width, (heads + shared) * width]
        query, key, value = F.split_axis(self.together(x), ends, axis=2)
        query = query.reshape(batch, time, heads, width) * width**-0.5
        key, value = (part.reshape(batch, time, shared, width) for part in (key, value))
        if self._layer.rotary:
            query, key = self._rotate(query), self._rotate(key)
        query = query.reshape(batch, time, shared, -1, width)
        query = F.transpose(query, (0, 2, 3, 1, 4)).reshape(batch, shared, -1, width)
        key, value = (F.transpose(part, (0, 2, 1, 3)) for part in (key, value))
        scores = F.matmul(query, key, transb=True)
        mask = self._mask(time, lengths)
        mixed = F.matmul(F.softmax(scores if mask is None else scores + mask, axis=3), value)
        mixed = mixed.reshape(batch, shared, -1, time, width)
        return self.out(F.transpose(mixed, (0, 3, 1, 2, 4)).reshape(batch, time, units))

    def _mask(self, time, lengths):
        """Return what is added to scores (batch, heads, queries, keys); None to add nothing."""
        mask = None
        if self._layer.causal:
            mask = numpy.tile(self._causal[:time, :time], (self._layer.heads // self._shared, 1))
        if lengths is not None:
            beyond = (numpy.arange(time) >= lengths[:, None])[:, None, None]
            padding = numpy.where(beyond, FAR, 0.0).astype(numpy.float32)
            mask = padding if mask is None else numpy.minimum(mask, padding)
        return mask

    def _rotate(self, x):
        """Rotate each pair of halves by its step's angle. x (batch, time, heads, d)."""
        cosine, sine = (table[: x.shape[1]] for table in (self._cosine, self._sine))
        first, second = F.separate(x.reshape(x.shape[:3] + (2, -1)), axis=3)
        turned = (first * cosine - second * sine, second * cosine + first * sine)
        return F.stack(turned, axis=3).reshape(x.shape)


def make_patches(x):
    """Turn (batch, n, height, width) into (batch, time, n)."""
    return F.transpose(x.reshape(x.shape[0], x.shape[1], -1), (0, 2, 1))


def compute_gelu(x):
    """Compute GELU in its tanh form."""
    half = x * 0.5
    inner = x * (x * x * (GELU_FACTOR * GELU_CUBE) + GELU_FACTOR)
    return half + half * F.tanh(inner)


def mean_over_time(x, lengths):
    """Average each example's true steps. x (batch, time, n), or a list of (time, n)."""
    if isinstance(x, list):
        divisors = numpy.array([[len(own)] for own in x], numpy.float32)
        return F.sum(F.pad_sequence(x), axis=1) / numpy.broadcast_to(
            divisors, (len(x), x[0].shape[1])
        )
    if lengths is None:
        return F.mean(x, axis=1)
    inside = numpy.arange(x.shape[1]) < lengths[:, None]
    shares = (inside / lengths[:, None]).astype(numpy.float32)
    return F.sum(x * shares[:, :, None], axis=1)
