"""Each planted error is one line of an adapter that is right otherwise, and must be caught."""

import math
from collections.abc import Callable, Iterator

import numpy
import pytest

from velodrome.adapters import agreement, reference, seeding
from velodrome.adapters.models import MODELS
from velodrome.adapters.models import layers as kinds
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
from velodrome.adapters.numpy import images, pointwise
from velodrome.adapters.numpy.adapter import Adapter
from velodrome.adapters.numpy.network import OPERATIONS
from velodrome.adapters.numpy.operation import Call, Operation
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


def _reference(model: Model) -> reference.Reference:
    if model.name not in REFERENCES:
        REFERENCES[model.name] = reference.compute(model, BATCH, 0)
    return REFERENCES[model.name]


def _ready(kind: type[Adapter], model: Model) -> Adapter:
    adapter = kind(model, "float64", "cpu", 1, "float32")
    adapter.build(seeding.weights(model, 0))
    adapter.load(seeding.batches(model, BATCH, 0, _reference(model).draws))
    adapter.set_dropout(False)
    return adapter


def _verify(kind: type[Adapter], model: Model) -> Verified:
    return agreement.verify(_reference(model), _ready(kind, model))


def _disagreed(kind: type[Adapter], model: Model) -> agreement.Disagreed:
    with pytest.raises(agreement.Disagreed) as caught:
        _verify(kind, model)
    assert "\n" not in str(caught.value)
    return caught.value


def _changed(change: Callable[[dict], Iterator[tuple[str, numpy.ndarray]]]) -> type[Adapter]:
    """An adapter whose gradients go through `change` before they are handed over."""

    class Changed(Adapter):
        def gradients(self, handle: object) -> Gradients:
            return iter(change(dict(super().gradients(handle))).items())

    return Changed


def _with(layer: type, operation: Operation) -> type[Adapter]:
    class Replaced(Adapter):
        pass

    Replaced.operations = {**OPERATIONS, layer: operation}
    return Replaced


@pytest.mark.parametrize("model", [IMAGES, WORDS, STACK], ids=lambda model: model.name)
def test_what_computes_the_model_agrees(model: Model) -> None:
    verified = _verify(Adapter, model)
    assert verified.loss == pytest.approx(_reference(model).losses[0])
    assert verified.loss_error < 1e-12
    assert verified.gradient_error < 1e-12
    assert [entry.name for entry in verified.parameters] == list(_reference(model).norms)
    assert verified.at_ns > 0


def test_float32_rounding_alone_agrees() -> None:
    rounded = _changed(
        lambda found: {name: value.astype(numpy.float32) for name, value in found.items()}
    )
    assert 1e-9 < _verify(rounded, IMAGES).gradient_error < 1e-6


def test_a_transposed_square_weight_is_caught() -> None:
    class Transposed(Adapter):
        def build(self, weights: dict) -> None:
            super().build({**weights, "square.weight": weights["square.weight"].T})

    error = _disagreed(Transposed, IMAGES)
    assert {entry.name: entry.error > 1e-3 for entry in error.parameters}["square.weight"]


def test_a_transposed_gradient_is_caught_and_named() -> None:
    swapped = _changed(lambda found: {**found, "square.weight": found["square.weight"].T})
    error = _disagreed(swapped, IMAGES)
    assert str(error).startswith("1 of 8 gradients are off, most square.weight: 1.")
    assert error.loss_error < 1e-12


def test_gradients_without_their_share_of_the_batch_are_caught() -> None:
    summed = _changed(lambda found: {name: value * BATCH for name, value in found.items()})
    error = _disagreed(summed, IMAGES)
    assert "8 of 8 gradients are off" in str(error)
    assert [entry.error for entry in error.parameters] == pytest.approx([BATCH - 1] * 8, rel=0.1)


def _average_forward(layer: MaxPool, weights: dict, inputs: tuple, call: Call) -> tuple:
    seen = images.windows(inputs[0], layer.size, layer.stride)
    _, saved = images.MAX_POOL.forward(layer, weights, inputs, call)
    return seen.mean(axis=(2, 3)), saved


def test_average_pooling_for_max_pooling_is_caught() -> None:
    _disagreed(_with(MaxPool, Operation(_average_forward, images.MAX_POOL.backward)), IMAGES)


def _narrow(layer: MaxPool) -> MaxPool:
    return layer._replace(size=1)


def test_pooling_over_windows_of_another_size_is_caught() -> None:
    narrow = Operation(
        lambda layer, *rest: images.MAX_POOL.forward(_narrow(layer), *rest),
        lambda layer, *rest: images.MAX_POOL.backward(_narrow(layer), *rest),
    )
    _disagreed(_with(MaxPool, narrow), IMAGES)


def test_a_gradient_routed_to_every_value_of_a_window_is_caught() -> None:
    def backward(
        layer: MaxPool, weights: dict, saved: tuple, gradient: object, *_: object
    ) -> tuple:
        _, shape = saved
        return (numpy.repeat(numpy.repeat(gradient, 2, 2), 2, 3).reshape(shape) / 4,), {}

    error = _disagreed(_with(MaxPool, Operation(images.MAX_POOL.forward, backward)), IMAGES)
    assert "2 of 8 gradients are off, most conv1." in str(error)


def test_convolution_with_flipped_kernels_is_caught() -> None:
    class Flipped(Adapter):
        def build(self, weights: dict) -> None:
            super().build({**weights, "conv1.weight": weights["conv1.weight"][:, :, ::-1, ::-1]})

    _disagreed(Flipped, IMAGES)


def test_lrn_left_out_is_caught() -> None:
    _disagreed(_with(Lrn, pointwise.DUPLICATE), IMAGES)


def test_swapped_gates_are_caught() -> None:
    class Swapped(Adapter):
        def build(self, weights: dict) -> None:
            order = numpy.r_[0:12, 18:24, 12:18]  # i, f, o, g
            super().build(
                {
                    name: value[order] if name.startswith("lstm.") else value
                    for name, value in weights.items()
                }
            )

    _disagreed(Swapped, WORDS)


def test_padding_taken_for_words_is_caught() -> None:
    class Unmasked(Adapter):
        def load(self, batches: tuple) -> None:
            whole = [
                batch._replace(lengths=numpy.full(BATCH, batch.inputs.shape[1], numpy.int32))
                for batch in batches
            ]
            super().load(tuple(whole))

    _disagreed(Unmasked, WORDS)


def test_an_error_in_the_last_batch_alone_is_caught() -> None:
    class Late(Adapter):
        def gradient(self, index: int) -> object:
            found = super().gradient(index)
            return found._replace(loss=found.loss * (1.01 if index == 2 else 1))

    assert _reference(WORDS).checked == (0, 1, 2)
    assert str(_disagreed(Late, WORDS)) == "loss is off by 0.01 (allowed 0.0001)"


def test_a_forward_call_that_computes_another_loss_than_gradient_is_caught() -> None:
    class Halved(Adapter):
        def forward(self, index: int) -> object:
            found = super().forward(index)
            return found._replace(loss=found.loss / 2)

    error = _disagreed(Halved, IMAGES)
    assert error.loss_error == pytest.approx(0.5)


def test_a_gradient_that_is_not_a_number_is_caught() -> None:
    poisoned = _changed(lambda found: {**found, "fc1.bias": found["fc1.bias"] * math.nan})
    assert "most fc1.bias: nan" in str(_disagreed(poisoned, IMAGES))
    endless = _changed(lambda found: {**found, "fc1.bias": found["fc1.bias"] + math.inf})
    assert "most fc1.bias: inf" in str(_disagreed(endless, IMAGES))


def test_a_loss_that_is_not_a_number_is_caught() -> None:
    class Nan(Adapter):
        def loss(self, handle: object) -> float:
            return math.nan

    assert "loss is off by nan" in str(_disagreed(Nan, IMAGES))


def _without_last(found: dict) -> dict:
    return dict(list(found.items())[:-1])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_without_last, "no gradient of square.weight"),
        (lambda found: {**found, "fc9.weight": found["fc1.bias"]}, "gradient of fc9.weight, which"),
        (
            lambda found: {**found, "fc1.bias": found["fc1.bias"][:, None]},
            r"gradient of fc1.bias has shape \(40, 1\), not \(40,\)",
        ),
    ],
)
def test_gradients_must_be_those_of_the_model(change: Callable, reason: str) -> None:
    with pytest.raises(agreement.Disagreed, match=reason):
        _verify(_changed(change), IMAGES)


def test_a_gradient_of_a_frozen_parameter_is_caught() -> None:
    eager = _changed(lambda found: {**found, "encoder1.bias": numpy.zeros(400)})
    assert "gradient of encoder1.bias, which is not trained" in str(_disagreed(eager, STACK))


def test_the_detail_is_a_table_of_every_parameter() -> None:
    doubled = _changed(lambda found: {**found, "fc2.weight": 2 * found["fc2.weight"]})
    lines = _disagreed(doubled, IMAGES).detail.splitlines()
    assert lines[0].split() == ["parameter", "error", "|ref|", "shape"]
    assert len(lines) == 1 + 8 + 1
    assert [line.split()[1] for line in lines if line.startswith("fc2.weight")] == ["1.00e+00"]
    assert lines[-1].startswith("loss ")


def _stretched(share: float) -> type[Adapter]:
    return _changed(lambda found: {**found, "fc2.weight": (1 + share) * found["fc2.weight"]})


def test_a_gradient_off_by_less_than_a_thousandth_of_its_norm_agrees() -> None:
    assert _verify(_stretched(0.9e-3), IMAGES).gradient_error == pytest.approx(0.9e-3, rel=1e-6)


def test_a_gradient_off_by_more_than_a_thousandth_of_its_norm_is_caught() -> None:
    assert "most fc2.weight: 0.0011" in str(_disagreed(_stretched(1.1e-3), IMAGES))


def test_examples_that_hold_near_ties_are_noted() -> None:
    tied = _reference(IMAGES)._replace(near_ties=2)
    notes = agreement.verify(tied, _ready(Adapter, IMAGES)).notes
    assert any(note.startswith("2 examples hold a near-tie") for note in notes)


COPY = MODELS["copy"]._replace(
    name="copy-small", input=kinds.Vectors(1000, "uniform"), batch_size=BATCH
)


@pytest.fixture
def copy(monkeypatch: pytest.MonkeyPatch) -> Model:
    monkeypatch.setitem(MODELS, COPY.name, COPY)
    return COPY


def test_a_copy_agrees_value_by_value(copy: Model) -> None:
    verified = _verify(Adapter, copy)
    assert (verified.loss_error, verified.gradient_error, verified.parameters) == (0.0, 0.0, ())


def test_a_copy_with_one_wrong_value_is_caught(copy: Model) -> None:
    class Slipped(Adapter):
        def output(self, handle: object) -> numpy.ndarray:
            copied = super().output(handle)
            copied[3, 7] += 1e-6
            return copied

    assert str(_disagreed(Slipped, copy)) == "1 of 8000 values are not the input's"


def test_a_copy_of_another_shape_is_caught(copy: Model) -> None:
    class Flat(Adapter):
        def output(self, handle: object) -> numpy.ndarray:
            return super().output(handle).ravel()

    assert "shape (8000,), not (8, 1000)" in str(_disagreed(Flat, copy))


WIDE = IMAGES._replace(
    name="wide",
    layers=(*IMAGES.layers[:4], Linear("fc1", 4000), Relu("relu2"), *IMAGES.layers[6:]),
)


def _check_dropout(kind: type[Adapter], model: Model = WIDE) -> tuple[str, ...]:
    return agreement.check_dropout(model, _ready(kind, model), BATCH)


def test_dropout_at_its_rate_is_noted_and_stays_on() -> None:
    adapter = _ready(Adapter, WIDE)
    still = adapter.loss(adapter.forward(0))
    (note,) = agreement.check_dropout(WIDE, adapter, BATCH)
    assert note.startswith("dropout drop kept 0.")
    assert adapter.loss(adapter.forward(0)) != still


def test_a_model_without_dropout_has_nothing_to_check() -> None:
    class Untouched(Adapter):
        def kept_shares(self) -> dict:
            raise AssertionError("not to be called")

    assert _check_dropout(Untouched, STACK) == ()


def test_dropout_at_another_rate_is_caught() -> None:
    def forward(layer: Dropout, *rest: object) -> tuple:
        return pointwise.DROPOUT.forward(layer._replace(rate=0.4), *rest)

    with pytest.raises(agreement.Disagreed, match=r"dropout drop kept 0\.[56].* 0\.50 \+- 0\.0"):
        _check_dropout(_with(Dropout, Operation(forward, pointwise.DROPOUT.backward)))


def test_dropout_that_is_missing_from_the_timed_call_is_caught() -> None:
    class Idle(Adapter):
        def set_dropout(self, active: object) -> None:
            super().set_dropout(False)

    with pytest.raises(agreement.Disagreed, match="forward drops nothing"):
        _check_dropout(Idle)


def test_a_dropout_layer_that_is_not_reported_is_caught() -> None:
    class Silent(Adapter):
        def kept_shares(self) -> dict:
            return {}

    with pytest.raises(agreement.Disagreed, match="dropout drop is not there"):
        _check_dropout(Silent)


@pytest.mark.slow
def test_alexnet_without_its_lrn_is_caught() -> None:
    # Its LRN changes values by 1e-4 only: this is as small as an error of the models can be.
    alexnet, batch_size = MODELS["alexnet"], 2
    known = reference.compute(alexnet, batch_size, 0)
    adapter = _with(Lrn, pointwise.DUPLICATE)(alexnet, "float64", "cpu", 1, "float32")
    adapter.build(seeding.weights(alexnet, 0))
    adapter.load(seeding.batches(alexnet, batch_size, 0, known.draws))
    with pytest.raises(agreement.Disagreed, match="gradients are off"):
        agreement.verify(known, adapter)
