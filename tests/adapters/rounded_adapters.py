"""The reference's own adapter with the products of a precision: an honest framework of it."""

from functools import cache

import numpy
import pytest
from planted_errors import IMAGES, WORDS

from velodrome.adapters.contract import Batch
from velodrome.adapters.frameworks.numpy import rounding
from velodrome.adapters.frameworks.numpy.adapter import Adapter
from velodrome.adapters.frameworks.numpy.network import OPERATIONS
from velodrome.adapters.frameworks.numpy.operation import Operation
from velodrome.adapters.frameworks.numpy.rounding import PRECISIONS, Precision
from velodrome.adapters.models import MODELS
from velodrome.adapters.models.layers import Gelu, Model, Sigmoid, Silu, Tanh
from velodrome.adapters.proof import agreement, reference, seeding
from velodrome.adapters.protocol import Verified

RESNET, VIT, BERT, GPT2, LLAMA = (
    MODELS[name + "-tiny"] for name in ("resnet50", "vit-b16", "bert-base", "gpt2", "llama-block")
)
TWINS = (RESNET, VIT, BERT, GPT2, LLAMA)
SMALL = (IMAGES, WORDS)
DTYPES = ("float32", "bfloat16", "float16")


@cache
def refer(model: Model, dtype: str) -> reference.Reference:
    return reference.compute_reference(model, model.batch_size, 0, dtype)


def round_products(kind: type[Adapter], precision: Precision) -> type[Adapter]:
    """Make a kind of adapter compute its products in a precision, and all else in float64."""

    class Rounded(kind):
        def build(self, weights: dict) -> None:
            super().build(weights)
            self._network.round_products(precision)

        def load(self, batches: tuple[Batch, ...]) -> None:
            super().load(batches)
            self._batches = tuple(
                batch._replace(inputs=rounding.as_rounded(batch.inputs, precision))
                for batch in self._batches
            )

    return Rounded


def round_pointwise(precision: Precision) -> type[Adapter]:
    """Make an adapter whose pointwise layers round what they give, forward and backward."""

    def rounded(operation: Operation) -> Operation:
        def forward(*words: object) -> tuple:
            output, saved = operation.forward(*words)
            return _round(output, precision), saved

        def backward(*words: object) -> tuple:
            of_inputs, of_roles = operation.backward(*words)
            return tuple(_round(own, precision) for own in of_inputs), of_roles

        return Operation(forward, backward)

    class Pointwise(Adapter):
        pass

    own = {kind: rounded(OPERATIONS[kind]) for kind in (Gelu, Silu, Sigmoid, Tanh)}
    Pointwise.operations = {**OPERATIONS, **own}
    return Pointwise


def _round(values: numpy.ndarray, precision: Precision) -> numpy.ndarray:
    rounded = rounding.round_bits(numpy.asarray(values), precision.result_bits)
    return rounding.as_rounded(rounded.astype(numpy.float64), precision)


def verify(
    kind: type[Adapter], model: Model, dtype: str, precision: Precision | None = None
) -> Verified:
    """Verify an adapter as one of this dtype. precision: of its products, else the dtype's."""
    known = refer(model, dtype)
    adapter = round_products(kind, precision or PRECISIONS[dtype])(
        model, "float64", "cpu", 1, "float32"
    )
    adapter.build(seeding.draw_weights(model, 0))
    adapter.load(seeding.draw_batches(model, model.batch_size, 0, known.draws))
    adapter.set_dropout(False)
    return agreement.verify(known, adapter)


def catch(
    kind: type[Adapter], model: Model, dtype: str, precision: Precision | None = None
) -> agreement.Disagreed:
    with pytest.raises(agreement.Disagreed) as caught:
        verify(kind, model, dtype, precision)
    return caught.value
