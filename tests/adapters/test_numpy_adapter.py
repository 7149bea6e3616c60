"""The reference itself: its losses, where its gradients end, its dropout, and what it lacks."""

import math

import numpy
import pytest
from small_models import (
    VECTOR,
    WORDS,
    ZERO,
    inputs_of,
    model_of,
    wide,
)

from velodrome.adapters.contract import Batch, Unsupported
from velodrome.adapters.frameworks.numpy.adapter import Adapter
from velodrome.adapters.frameworks.numpy.network import OPERATIONS, Network
from velodrome.adapters.models import MODELS
from velodrome.adapters.models import layers as kinds
from velodrome.adapters.models.layers import (
    Dropout,
    Duplicate,
    Embedding,
    Linear,
    Lstm,
    MeanOverTime,
    Model,
    Relu,
    Sigmoid,
    SquaredError,
    Vectors,
)
from velodrome.adapters.proof import seeding


def test_padding_has_no_gradient() -> None:
    model = model_of(WORDS, Embedding("e", 7, 3), Lstm("l", 4), MeanOverTime("m"), Linear("f", 3))
    network = Network(model, seeding.draw_weights(model, 0), OPERATIONS)
    gradient = network.gradient(inputs_of(model, 4)).gradients["e.weight"]
    assert (gradient[0] == 0).all()
    assert (gradient[1:] != 0).any()


def test_cross_entropy_is_the_mean_in_nats_and_does_not_overflow() -> None:
    model = model_of(Vectors(3, "normal"), Duplicate("d"))
    logits = numpy.array([[0.0, 0.0, 0.0], [1e4, 0.0, -1e4]])
    batch = Batch(logits, labels=numpy.array([1, 1], numpy.int32))
    loss = Network(model, {}, OPERATIONS).forward(batch).loss
    assert loss == pytest.approx((math.log(3) + 1e4) / 2)


def test_squared_error_is_summed_over_twice_the_batch() -> None:
    model = model_of(Vectors(2, "normal"), Duplicate("d"), loss=ZERO)
    batch = Batch(numpy.array([[1.0, 2.0], [3.0, 4.0]]))
    assert Network(model, {}, OPERATIONS).forward(batch).loss == (1 + 4 + 9 + 16) / 4


def _list_backward_layers(model: Model) -> list:
    """List the layers whose backward pass ran, last first."""
    ran = []

    def recorded(operation: object) -> object:
        def backward(layer: kinds.Layer, *rest: object) -> object:
            ran.append(layer.name)
            return operation.backward(layer, *rest)

        return operation._replace(backward=backward)

    operations = {kind: recorded(operation) for kind, operation in OPERATIONS.items()}
    Network(model, seeding.draw_weights(model, 0), operations).gradient(inputs_of(model, 2))
    return ran


def test_no_backward_pass_runs_below_the_first_trained_layer() -> None:
    ran = _list_backward_layers(MODELS["autoencoder-400-200-100/ae2"])
    assert ran == ["decoded2", "decoder2", "code2", "encoder2"]


def test_no_gradient_flows_through_the_target_layer() -> None:
    model = model_of(VECTOR, Linear("a", 4), Sigmoid("s"), Linear("b", 4), loss=SquaredError("s"))
    batch, weights = inputs_of(model, 4), wide(seeding.draw_weights(model, 0))
    network = Network(model, weights, OPERATIONS)
    target = network.outputs(batch)["s"]
    difference = (network.outputs(batch)["b"] - target) / len(target)
    into_s = difference @ weights["b.weight"]
    expected = (into_s * target * (1 - target)).T @ batch.inputs
    assert network.gradient(batch).gradients["a.weight"] == pytest.approx(expected)


def test_calls_do_not_accumulate_gradients() -> None:
    adapter = _make_adapter(MODELS["lenet"], 2)
    first, second = (dict(adapter.gradients(adapter.gradient(0))) for _ in range(2))
    assert all(numpy.array_equal(first[name], second[name]) for name in first)


def test_dropout_drops_at_its_rate_and_is_redrawn_in_each_call() -> None:
    model = model_of(VECTOR, Linear("a", 4000), Relu("r"), Dropout("d", 0.25), Linear("b", 3))
    adapter = _make_adapter(model, 4)
    still = adapter.loss(adapter.forward(0))
    adapter.set_dropout(True)
    assert adapter.kept_shares()["d"] == pytest.approx(0.75, abs=0.02)
    losses = {adapter.loss(adapter.forward(0)) for _ in range(3)}
    assert len(losses) == 3
    adapter.set_dropout(False)
    assert adapter.loss(adapter.forward(0)) == still


def _make_adapter(model: Model, batch_size: int) -> Adapter:
    adapter = Adapter(model, "float64", "cpu", 1, "float32")
    adapter.build(seeding.draw_weights(model, 0))
    adapter.load(seeding.draw_batches(model, batch_size, 0))
    adapter.set_dropout(False)
    return adapter


@pytest.mark.parametrize(
    ("variant", "device", "dtype", "missing"),
    [
        ("float16", "cpu", "float32", "no variant 'float16'"),
        ("float64", "gpu", "float32", "CPU only"),
        ("float64", "cpu", "bf16", "not bf16"),
    ],
)
def test_a_request_that_numpy_cannot_run_is_unsupported(
    variant: str, device: str, dtype: str, missing: str
) -> None:
    with pytest.raises(Unsupported, match=missing):
        Adapter(MODELS["lenet"], variant, device, 1, dtype)


def test_an_unknown_layer_is_unsupported_by_name() -> None:
    class Maxout(tuple):
        name, inputs, frozen = "m", (), False

    adapter = Adapter(model_of(VECTOR, Maxout()), "float64", "cpu", 1, "float32")
    with pytest.raises(Unsupported, match="no Maxout in the reference"):
        adapter.build({})
