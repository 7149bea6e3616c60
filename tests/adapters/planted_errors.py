"""Small models, and the reference's own adapter with one thing changed in it, held against it."""

from collections.abc import Callable, Iterator

import numpy
import pytest

from velodrome.adapters.frameworks.numpy.adapter import Adapter
from velodrome.adapters.frameworks.numpy.network import OPERATIONS
from velodrome.adapters.frameworks.numpy.operation import Operation
from velodrome.adapters.models import MODELS
from velodrome.adapters.models.layers import (
    Conv,
    Dropout,
    Embedding,
    Images,
    Linear,
    Lrn,
    Lstm,
    MaxPool,
    MeanOverTime,
    Model,
    Relu,
    Sequences,
    SoftmaxCrossEntropy,
)
from velodrome.adapters.proof import agreement, reference, seeding
from velodrome.adapters.protocol import Verified

Gradients = Iterator[tuple[str, numpy.ndarray]]
BATCH = 8

IMAGES = Model(
    "images",
    "",
    Images(2, 10, 10),
    (
        Conv("conv1", 6, 3),
        Relu("relu1"),
        Lrn("lrn1", alpha=0.5),
        MaxPool("pool1", 2, 2),
        Linear("fc1", 40),
        Relu("relu2"),
        Dropout("drop", 0.5),
        Linear("square", 40),
        Relu("relu3"),
        Linear("fc2", 5),
    ),
    SoftmaxCrossEntropy(),
    5,
    BATCH,
    BATCH,
)
WORDS = Model(
    "words",
    "",
    Sequences(50, tuple(range(4, 28))),
    (
        Embedding("embedding", 50, 6),
        Lstm("lstm", 6),
        MeanOverTime("mean"),
        Linear("classifier", 3),
    ),
    SoftmaxCrossEntropy(),
    3,
    BATCH,
    BATCH,
)
STACK = MODELS["autoencoder-400-200-100/ae2"]
REFERENCES: dict[str, reference.Reference] = {}


def reference_of(model: Model) -> reference.Reference:
    if model.name not in REFERENCES:
        REFERENCES[model.name] = reference.compute_reference(model, BATCH, 0)
    return REFERENCES[model.name]


def ready(kind: type[Adapter], model: Model) -> Adapter:
    adapter = kind(model, "float64", "cpu", 1, "float32")
    adapter.build(seeding.draw_weights(model, 0))
    adapter.load(seeding.draw_batches(model, BATCH, 0, reference_of(model).draws))
    adapter.set_dropout(False)
    return adapter


def verify(kind: type[Adapter], model: Model) -> Verified:
    return agreement.verify(reference_of(model), ready(kind, model))


def disagreed(kind: type[Adapter], model: Model) -> agreement.Disagreed:
    with pytest.raises(agreement.Disagreed) as caught:
        verify(kind, model)
    assert "\n" not in str(caught.value)
    return caught.value


def changed(change: Callable[[dict], Iterator[tuple[str, numpy.ndarray]]]) -> type[Adapter]:
    """Make an adapter that changes its gradients by `change`."""

    class Changed(Adapter):
        def gradients(self, handle: object) -> Gradients:
            return iter(change(dict(super().gradients(handle))).items())

    return Changed


def with_layer(layer: type, operation: Operation) -> type[Adapter]:
    class Replaced(Adapter):
        pass

    Replaced.operations = {**OPERATIONS, layer: operation}
    return Replaced
