"""Each planted error is one line of an adapter that is right otherwise, and must be caught."""

import numpy
import pytest
from planted_errors import (
    BATCH,
    IMAGES,
    STACK,
    WORDS,
    changed,
    disagreed,
    reference_of,
    verify,
    with_layer,
)

from velodrome.adapters.frameworks.numpy import images, pointwise
from velodrome.adapters.frameworks.numpy.adapter import Adapter
from velodrome.adapters.frameworks.numpy.operation import CallContext, Operation
from velodrome.adapters.models import MODELS
from velodrome.adapters.models.layers import Lrn, MaxPool, Model
from velodrome.adapters.proof import agreement, reference, seeding


@pytest.mark.parametrize("model", [IMAGES, WORDS, STACK], ids=lambda model: model.name)
def test_an_adapter_that_computes_the_model_agrees(model: Model) -> None:
    verified = verify(Adapter, model)
    assert verified.loss == pytest.approx(reference_of(model).losses[0])
    assert verified.loss_error < 1e-12
    assert verified.gradient_error < 1e-12
    assert [entry.name for entry in verified.parameters] == list(reference_of(model).norms)
    assert verified.at_ns > 0


def test_float32_rounding_alone_agrees() -> None:
    rounded = changed(
        lambda found: {name: value.astype(numpy.float32) for name, value in found.items()}
    )
    assert 1e-9 < verify(rounded, IMAGES).gradient_error < 1e-6


def test_a_transposed_square_weight_is_caught() -> None:
    class Transposed(Adapter):
        def build(self, weights: dict) -> None:
            super().build({**weights, "square.weight": weights["square.weight"].T})

    error = disagreed(Transposed, IMAGES)
    assert {entry.name: entry.error > 1e-3 for entry in error.parameters}["square.weight"]


def test_a_transposed_gradient_is_caught_and_named() -> None:
    swapped = changed(lambda found: {**found, "square.weight": found["square.weight"].T})
    error = disagreed(swapped, IMAGES)
    assert str(error).startswith("1 of 8 gradients are off, the worst is square.weight: 1.")
    assert error.loss_error < 1e-12


def test_gradients_not_divided_by_the_batch_are_caught() -> None:
    summed = changed(lambda found: {name: value * BATCH for name, value in found.items()})
    error = disagreed(summed, IMAGES)
    assert "8 of 8 gradients are off" in str(error)
    assert [entry.error for entry in error.parameters] == pytest.approx([BATCH - 1] * 8, rel=0.1)


def _average_forward(layer: MaxPool, weights: dict, inputs: tuple, call: CallContext) -> tuple:
    seen = images.view_windows(inputs[0], layer.size, layer.stride)
    _, saved = images.MAX_POOL.forward(layer, weights, inputs, call)
    return seen.mean(axis=(2, 3)), saved


def test_average_pooling_instead_of_max_pooling_is_caught() -> None:
    disagreed(with_layer(MaxPool, Operation(_average_forward, images.MAX_POOL.backward)), IMAGES)


def _narrow(layer: MaxPool) -> MaxPool:
    return layer._replace(size=1)


def test_pooling_over_windows_of_another_size_is_caught() -> None:
    narrow = Operation(
        lambda layer, *rest: images.MAX_POOL.forward(_narrow(layer), *rest),
        lambda layer, *rest: images.MAX_POOL.backward(_narrow(layer), *rest),
    )
    disagreed(with_layer(MaxPool, narrow), IMAGES)


def test_a_gradient_routed_to_every_value_of_a_window_is_caught() -> None:
    def backward(
        layer: MaxPool, weights: dict, saved: tuple, gradient: object, *_: object
    ) -> tuple:
        _, shape = saved
        return (numpy.repeat(numpy.repeat(gradient, 2, 2), 2, 3).reshape(shape) / 4,), {}

    error = disagreed(with_layer(MaxPool, Operation(images.MAX_POOL.forward, backward)), IMAGES)
    assert "2 of 8 gradients are off, the worst is conv1." in str(error)


def test_a_convolution_with_flipped_kernels_is_caught() -> None:
    class Flipped(Adapter):
        def build(self, weights: dict) -> None:
            super().build({**weights, "conv1.weight": weights["conv1.weight"][:, :, ::-1, ::-1]})

    disagreed(Flipped, IMAGES)


def test_missing_lrn_is_caught() -> None:
    disagreed(with_layer(Lrn, pointwise.DUPLICATE), IMAGES)


def test_swapped_lstm_gates_are_caught() -> None:
    class Swapped(Adapter):
        def build(self, weights: dict) -> None:
            order = numpy.r_[0:12, 18:24, 12:18]  # i, f, o, g
            super().build(
                {
                    name: value[order] if name.startswith("lstm.") else value
                    for name, value in weights.items()
                }
            )

    disagreed(Swapped, WORDS)


def test_padding_treated_as_words_is_caught() -> None:
    class Unmasked(Adapter):
        def load(self, batches: tuple) -> None:
            whole = [
                batch._replace(lengths=numpy.full(BATCH, batch.inputs.shape[1], numpy.int32))
                for batch in batches
            ]
            super().load(tuple(whole))

    disagreed(Unmasked, WORDS)


def test_an_error_in_the_last_batch_alone_is_caught() -> None:
    class Late(Adapter):
        def gradient(self, index: int) -> object:
            found = super().gradient(index)
            return found._replace(loss=found.loss * (1.01 if index == 2 else 1))

    assert reference_of(WORDS).checked == (0, 1, 2)
    assert str(disagreed(Late, WORDS)) == "loss is off by 0.01 (allowed 1e-06)"


def test_a_forward_call_that_computes_another_loss_than_gradient_is_caught() -> None:
    class Halved(Adapter):
        def forward(self, index: int) -> object:
            found = super().forward(index)
            return found._replace(loss=found.loss / 2)

    error = disagreed(Halved, IMAGES)
    assert error.loss_error == pytest.approx(0.5)


@pytest.mark.slow
@pytest.mark.full
def test_missing_lrn_in_alexnet_is_caught() -> None:
    # Its LRN changes values by 1e-4 only: this is as small as an error of the models can be.
    alexnet, batch_size = MODELS["alexnet"], 2
    known = reference.compute_reference(alexnet, batch_size, 0)
    adapter = with_layer(Lrn, pointwise.DUPLICATE)(alexnet, "float64", "cpu", 1, "float32")
    adapter.build(seeding.draw_weights(alexnet, 0))
    adapter.load(seeding.draw_batches(alexnet, batch_size, 0, known.draws))
    with pytest.raises(agreement.Disagreed, match="gradients are off"):
        agreement.verify(known, adapter)
