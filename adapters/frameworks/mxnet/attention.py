"""Self-attention in Gluon, on sequences (time, batch, n)."""

from mxnet.gluon import HybridBlock

from velodrome.adapters.frameworks.rotary import compute_rotations


def make_attention(layer, source):
    """Make an attention layer's block. source: shape of one example before it."""
    shares_heads = layer.key_value_heads not in (0, layer.heads)
    kind = GroupedAttentionBlock if shares_heads or layer.rotary else InterleavedAttentionBlock
    return kind(layer, source)


class AttentionBlock(HybridBlock):
    """Two products with weights, and between them what a subclass makes of the heads.

    HOW: the operations, for a note.
    """

    HOW = ""

    def __init__(self, layer, source):
        super(AttentionBlock, self).__init__()
        self._layer, self._units = layer, source[-1]
        self._width = self._units // layer.heads
        self._shared = layer.key_value_heads or layer.heads
        self._rows = (layer.heads + 2 * self._shared) * self._width
        with self.name_scope():
            self.weight_input = self.params.get("weight_input", shape=(self._rows, self._units))
            self.weight_output = self.params.get("weight_output", shape=(self._units, self._units))
            if layer.bias:
                self.bias_input = self.params.get("bias_input", shape=(self._rows,))
                self.bias_output = self.params.get("bias_output", shape=(self._units,))

    def hybrid_forward(
        self,
        F,
        x,
        lengths,
        weight_input,
        weight_output,
        bias_input=None,
        bias_output=None,
        **tables,
    ):
        """Compute attention. x (time, batch, n), lengths (batch,) or None."""
        together = _multiply(F, x, weight_input, bias_input, self._rows)
        mixed = self._attend(F, together, lengths, **tables)
        return _multiply(F, mixed, weight_output, bias_output, self._units)

    def _share(self, F, x, scores, lengths, repeats):
        """Return the softmax over the keys that each query may read.

        scores: (batch * heads, queries, keys), queries being all steps `repeats` times. The softmax
        takes the number of keys of each query, so that a causal one reads no later score.
        """
        if lengths is not None:
            heads = self._layer.heads // repeats
            lengths = F.expand_dims(F.repeat(lengths, repeats=heads), 1)
        if self._layer.causal:
            until = F.contrib.arange_like(x, axis=0, start=1)
            until = F.reshape(F.tile(until, (repeats,)), (1, -1))
            if lengths is None:
                true = F.broadcast_like(until, scores, lhs_axes=(0,), rhs_axes=(0,))
            else:
                true = F.broadcast_minimum(lengths, until)
        elif lengths is not None:
            true = F.broadcast_like(lengths, scores, lhs_axes=(1,), rhs_axes=(1,))
        else:
            return F.softmax(scores)
        return F.softmax(scores, F.cast(true, "int32"), use_length=True)


class InterleavedAttentionBlock(AttentionBlock):
    """Attention by two operations of MXNet, which need each head's q, k and v together.

    Weights are put into that order when they are set: (3, heads, d) to (heads, 3, d).
    """

    HOW = "of interleaved_matmul_selfatt_qk, softmax with lengths, _valatt"

    def _attend(self, F, together, lengths):
        heads = self._layer.heads
        scores = F.contrib.interleaved_matmul_selfatt_qk(together, heads=heads)
        shares = self._share(F, together, scores, lengths, 1)
        return F.contrib.interleaved_matmul_selfatt_valatt(together, shares, heads=heads)

    def own_layout(self, role, array):
        return self._reorder(array, 3, self._layer.heads) if role.endswith("_input") else array

    def canonical_layout(self, role, array):
        return self._reorder(array, self._layer.heads, 3) if role.endswith("_input") else array

    def _reorder(self, array, outer, inner):
        parts = array.reshape((outer, inner, -1) + array.shape[1:])
        return parts.swapaxes(0, 1).reshape(array.shape)


class GroupedAttentionBlock(AttentionBlock):
    """Attention by products of batches: queries that share a key are rows of one product."""

    HOW = "of batch_dot, softmax with lengths, batch_dot; positions are rotated by products"

    def __init__(self, layer, source):
        super(GroupedAttentionBlock, self).__init__(layer, source)
        if layer.rotary:
            cosine, sine = (
                table[:, None, None].astype("f")
                for table in compute_rotations(layer.rotary, source[0], self._width // 2)
            )
            with self.name_scope():
                self.cosine = self.params.get_constant("cosine", cosine)
                self.sine = self.params.get_constant("sine", sine)

    def _attend(self, F, together, lengths, **tables):
        heads, shared, width = self._layer.heads, self._shared, self._width
        repeats = heads // shared
        query = F.slice_axis(together, axis=2, begin=0, end=heads * width) * width**-0.5
        key = F.slice_axis(together, axis=2, begin=heads * width, end=(heads + shared) * width)
        value = F.slice_axis(together, axis=2, begin=(heads + shared) * width, end=None)
        query, key = (F.reshape(part, (0, 0, -1, width)) for part in (query, key))
        if tables:
            query, key = _rotate(F, query, **tables), _rotate(F, key, **tables)
        # (time, batch, shared, repeats, d) to (batch * shared, repeats * time, d)
        query = F.transpose(F.reshape(query, (0, 0, -4, shared, repeats, 0)), (1, 2, 3, 0, 4))
        query = F.reshape(query, (-3, -3, 0))
        key, value = (
            F.reshape(F.transpose(F.reshape(part, (0, 0, shared, width)), (1, 2, 0, 3)), (-3, 0, 0))
            for part in (key, value)
        )
        scores = F.batch_dot(query, key, transpose_b=True)
        mixed = F.batch_dot(self._share(F, together, scores, lengths, repeats), value)
        mixed = F.reshape(mixed, (-4, -1, shared, -4, repeats, -1, 0))
        return F.reshape(F.transpose(mixed, (3, 0, 1, 2, 4)), (0, 0, -1))


def _multiply(F, x, weight, bias, units):
    """Return x weight^T + bias for each step; bias may be None."""
    if bias is None:
        return F.FullyConnected(x, weight, num_hidden=units, flatten=False, no_bias=True)
    return F.FullyConnected(x, weight, bias, num_hidden=units, flatten=False)


def _rotate(F, x, cosine, sine):
    """Rotate each pair of halves by its step's angle. x (time, batch, heads, d)."""
    cosine, sine = (F.slice_like(table, x, axes=(0,)) for table in (cosine, sine))
    first, second = F.split(x, num_outputs=2, axis=-1)
    return F.concat(
        F.broadcast_mul(first, cosine) - F.broadcast_mul(second, sine),
        F.broadcast_mul(second, cosine) + F.broadcast_mul(first, sine),
        dim=-1,
    )
