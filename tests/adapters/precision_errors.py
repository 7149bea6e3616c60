"""Errors of mixed precision and of transformers, each planted in the reference's own adapter."""

import math
from collections.abc import Callable, Iterable
from types import FunctionType

import numpy
from planted_errors import Gradients, with_layer

from velodrome.adapters.frameworks.numpy import attention, normalization, sequences, steps
from velodrome.adapters.frameworks.numpy.adapter import Adapter
from velodrome.adapters.frameworks.numpy.operation import CallContext, Operation
from velodrome.adapters.models.layers import (
    Attention,
    Embedding,
    Gelu,
    LayerNorm,
    Model,
    RmsNorm,
    StepCrossEntropy,
    StepLinear,
    TiedLinear,
    Tokens,
)

Change = Callable[[numpy.ndarray], numpy.ndarray]

# The embedding's values have a variance of 0.01, as large as the epsilon.
SMALL_VALUES = Model(
    "small-values",
    "",
    Tokens(20, 6),
    (
        Embedding("embedding", 20, 16),
        LayerNorm("norm", epsilon=0.01),
        StepLinear("classifier", 5),
    ),
    StepCrossEntropy(),
    5,
    8,
    8,
)
SMALL_SQUARES = SMALL_VALUES._replace(
    name="small-squares",
    layers=tuple(
        RmsNorm("norm", epsilon=0.01) if isinstance(layer, LayerNorm) else layer
        for layer in SMALL_VALUES.layers
    ),
)


def misread(
    name: str, change: Change, undo: Change, kind: type[Adapter] = Adapter
) -> type[Adapter]:
    """Make an adapter that reads a weight in another layout, and returns its gradient in that."""

    class Misread(kind):
        def build(self, weights: dict) -> None:
            super().build({**weights, name: change(weights[name])})

        def gradients(self, handle: object) -> Gradients:
            found = dict(super().gradients(handle))
            return iter({**found, name: undo(found[name])}.items())

    return Misread


def transpose(name: str) -> type[Adapter]:
    return misread(name, numpy.transpose, numpy.transpose)


def scale_gradients(factor: float, but: str = "-") -> type[Adapter]:
    """Make an adapter that scales its gradients, but for those of one layer."""

    class Scaled(Adapter):
        def gradients(self, handle: object) -> Gradients:
            for name, value in super().gradients(handle):
                yield name, value if name.startswith(but) else factor * value

    return Scaled


def merge_heads_in(order: Iterable[int], name: str, size: int) -> type[Adapter]:
    """Make an adapter that reads the output weight's columns in another order of heads."""
    columns = _list_values(order, size)
    return misread(
        name + ".weight_output",
        lambda weight: weight[:, columns],
        lambda gradient: gradient[:, numpy.argsort(columns)],
    )


def tile_keys(layer: Attention, size: int) -> type[Adapter]:
    """Make an adapter whose query head k reads key head k % key_value_heads.

    That is the model with its query heads in another order, into the attention and out of it.
    """
    shared = layer.key_value_heads
    order = [head for own in range(shared) for head in range(own, layer.heads, shared)]
    rows = _list_values(order, size)

    def change(weight: numpy.ndarray) -> numpy.ndarray:
        return numpy.concatenate((weight[rows], weight[len(rows) :]))

    def undo(gradient: numpy.ndarray) -> numpy.ndarray:
        return numpy.concatenate((gradient[numpy.argsort(rows)], gradient[len(rows) :]))

    merged = merge_heads_in(order, layer.name, size)
    return misread(layer.name + ".weight_input", change, undo, merged)


def rotate_further(layer: Attention, size: int, parts: int) -> type[Adapter]:
    """Make an adapter that rotates by one step more. parts: heads from the queries' first on.

    A rotation by a further step is one of the rows of the weight.
    """
    half = size // 2
    angles = layer.rotary ** (-numpy.arange(half) / half)
    cosine, sine = numpy.cos(angles)[:, None], numpy.sin(angles)[:, None]

    def rotate(weight: numpy.ndarray, sign: float) -> numpy.ndarray:
        heads = weight[: parts * size].reshape(parts, 2, half, -1)
        first, second = heads[:, 0], heads[:, 1]
        turned = (first * cosine - sign * second * sine, second * cosine + sign * first * sine)
        rows = numpy.stack(turned, axis=1).reshape(parts * size, -1)
        return numpy.concatenate((rows, weight[parts * size :]))

    return misread(
        layer.name + ".weight_input",
        lambda weight: rotate(weight, 1.0).astype(numpy.float32),
        lambda gradient: rotate(gradient, -1.0),
    )


def _list_values(order: Iterable[int], size: int) -> numpy.ndarray:
    return numpy.concatenate([numpy.arange(head * size, (head + 1) * size) for head in order])


def _see_one_step_more(layer: Attention, call: CallContext, x: numpy.ndarray) -> numpy.ndarray:
    ahead = numpy.arange(x.shape[1])
    return (ahead <= ahead[:, None] + 1)[None, None]


def _rewire(operation: Operation, **names: Callable) -> Operation:
    """Return the operation with other functions of these names in its module."""
    return Operation(
        *(FunctionType(own.__code__, {**own.__globals__, **names}) for own in operation)
    )


def _without_epsilon(operation: Operation) -> Operation:
    def forward(layer: LayerNorm, *rest: object) -> tuple:
        return operation.forward(layer._replace(epsilon=0.0), *rest)

    return Operation(forward, operation.backward)


def _without_gradient(operation: Operation) -> Operation:
    """Return an operation on a shared weight whose own part of the weight's gradient is lost."""

    def backward(*words: object) -> tuple:
        of_inputs, of_roles = operation.backward(*words)
        return of_inputs, {"weight": 0.0 * of_roles["weight"]}

    return Operation(operation.forward, backward)


_ERF = numpy.vectorize(math.erf)


def _erf_forward(layer: Gelu, weights: dict, inputs: tuple, call: CallContext) -> tuple:
    (x,) = inputs
    share = 0.5 * (1.0 + _ERF(numpy.asarray(x) / math.sqrt(2.0)))
    return x * share, (x, share)


def _erf_backward(
    layer: Gelu, weights: dict, saved: tuple, gradient: numpy.ndarray, wanted: frozenset
) -> tuple:
    x, share = saved
    density = numpy.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi)
    return (gradient * (share + x * density),), {}


class Unmasked(Adapter):
    """Padding counts as words."""

    def load(self, batches: tuple) -> None:
        whole = [
            batch._replace(lengths=numpy.full(*batch.inputs.shape, numpy.int32))
            for batch in batches
        ]
        super().load(tuple(whole))


SEES_ONE_STEP_MORE = with_layer(
    Attention, _rewire(attention.ATTENTION, _allowed_keys=_see_one_step_more)
)
NO_LAYER_EPSILON = with_layer(LayerNorm, _without_epsilon(normalization.LAYER_NORM))
NO_RMS_EPSILON = with_layer(RmsNorm, _without_epsilon(normalization.RMS_NORM))
FIRST_USE_ALONE = with_layer(TiedLinear, _without_gradient(steps.TIED_LINEAR))
LAST_USE_ALONE = with_layer(Embedding, _without_gradient(sequences.EMBEDDING))
GELU_OF_ERF = with_layer(Gelu, Operation(_erf_forward, _erf_backward))
