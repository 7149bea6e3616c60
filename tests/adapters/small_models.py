"""Models of a layer or two for the reference itself, and what it computes of them."""

import numpy

from velodrome.adapters.contract import Batch
from velodrome.adapters.frameworks.numpy.network import OPERATIONS, Network
from velodrome.adapters.models import layers as kinds
from velodrome.adapters.models.layers import (
    Images,
    Model,
    Sequences,
    SoftmaxCrossEntropy,
    SquaredError,
    States,
    StepCrossEntropy,
    Tokens,
    Vectors,
)
from velodrome.adapters.proof import seeding

IMAGE = Images(4, 9, 8)
PLANE = Images(1, 7, 7)
VECTOR = Vectors(6, "normal")
WORDS = Sequences(7, (1, 3, 5, 5))
CROSS_ENTROPY = SoftmaxCrossEntropy()
ZERO = SquaredError("zero")
TOKENS = Tokens(7, 5)
STATES = States(5, 8)
PER_STEP = StepCrossEntropy()


def model_of(source: kinds.Input, *layers: kinds.Layer, loss: kinds.Loss = CROSS_ENTROPY) -> Model:
    return Model("small", "", source, layers, loss, 3, 4, 4)


def wide(arrays: dict) -> dict:
    return {name: array.astype(numpy.float64) for name, array in arrays.items()}


def inputs_of(model: Model, batch_size: int) -> Batch:
    batch = seeding.draw_batches(model, batch_size, 5)[0]
    if batch.inputs.dtype.kind == "i":
        return batch
    return batch._replace(inputs=batch.inputs.astype(numpy.float64))


def outputs_of(model: Model, batch: Batch, weights: dict) -> dict:
    return Network(model, weights, OPERATIONS).outputs(batch)
