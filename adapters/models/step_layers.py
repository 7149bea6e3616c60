"""The kinds of layers that a model of sequences is written in, as data.

Their values are (time, n), one vector per step. velodrome.adapters.models.layers has all kinds.
"""

from typing import NamedTuple, Tuple, Union

Inputs = Tuple[str, ...]  # names of earlier layers; empty: the layer before


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

    x weight_input^T holds the queries of all heads, then the keys, then the values of
    key_value_heads (0: heads); query head k reads key and value head k * key_value_heads // heads.
    A head gives softmax(query key^T / sqrt(d)) value; behind the heads, side by side, stands
    weight_output. The softmax is over the true steps alone; with `causal` over those up to the
    query's own. Steps beyond an example's length hold anything.

    rotary: 0, or the base b of rotary positions, by which each query and key (u, v), halves of d
    values, becomes (u cos a - v sin a, v cos a + u sin a), a_i = step * b^(-2 i / d).

    Parameters weight_input ((heads + 2 key_value_heads) d, n), weight_output (n, n), and with
    `bias` bias_input and bias_output; a key's bias has no gradient.
    """

    name: str
    heads: int
    inputs: Inputs = ()
    causal: bool = False
    bias: bool = False
    key_value_heads: int = 0
    rotary: float = 0.0


class MeanOverTime(NamedTuple):
    """(time, n) to (n,): the mean over each example's true length."""

    name: str
    inputs: Inputs = ()


class StepLinear(NamedTuple):
    """y = x weight^T + bias, for every step. weight (units, n), bias (units,)."""

    name: str
    units: int
    bias: bool = True
    inputs: Inputs = ()


class TiedLinear(NamedTuple):
    """y = x weight^T for every step, with the weight (vocabulary, n) of the layer `embedding`.

    It has no parameter of its own; the embedding's gradient is the sum of both.
    """

    name: str
    embedding: str
    inputs: Inputs = ()


class LayerNorm(NamedTuple):
    """y = (x - mean) / sqrt(variance + epsilon) * scale + bias, over the n values of a step.

    The variance is over n, not n - 1. Parameters scale (n,), bias (n,).
    """

    name: str
    epsilon: float = 1e-5
    inputs: Inputs = ()


class RmsNorm(NamedTuple):
    """y = x / sqrt(mean of x^2 + epsilon) * scale, over the n values of a step. scale (n,)."""

    name: str
    epsilon: float = 1e-5
    inputs: Inputs = ()


class LearnedPositions(NamedTuple):
    """y = x + weight[step]. Parameter weight (rows, n); rows beyond the input have gradient 0."""

    name: str
    rows: int
    inputs: Inputs = ()


class Patches(NamedTuple):
    """An image (n, height, width) as a sequence (height * width, n), row by row."""

    name: str
    inputs: Inputs = ()


class ClassToken(NamedTuple):
    """(time, n) to (time + 1, n): a learned step before the others. Parameter weight (n,)."""

    name: str
    inputs: Inputs = ()


class FirstStep(NamedTuple):
    """(time, n) to (n,): the first step alone."""

    name: str
    inputs: Inputs = ()


StepLayer = Union[
    Embedding,
    Lstm,
    Gru,
    Attention,
    MeanOverTime,
    StepLinear,
    TiedLinear,
    LayerNorm,
    RmsNorm,
    LearnedPositions,
    Patches,
    ClassToken,
    FirstStep,
]
