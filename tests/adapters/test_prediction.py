"""Predicted errors of a precision: from cases worked by hand to those of the small models."""

import numpy
import pytest
from precision_errors import Unmasked, merge_heads_in
from rounded_adapters import catch, verify
from small_models import VECTOR, ZERO, model_of, wide

from velodrome.adapters.contract import Batch
from velodrome.adapters.frameworks.numpy.adapter import Adapter
from velodrome.adapters.frameworks.numpy.network import OPERATIONS, Network
from velodrome.adapters.frameworks.numpy.rounding import PRECISIONS
from velodrome.adapters.models import MODELS
from velodrome.adapters.models.layers import Linear, Relu
from velodrome.adapters.models.transformers import make_bert
from velodrome.adapters.proof import prediction, seeding, tie_distance
from velodrome.adapters.proof.batch_results import accumulate_gradients
from velodrome.adapters.proof.reference import compute_reference
from velodrome.adapters.tolerances import DTYPES, FACTOR, PredictedErrors

TWINS = ["gpt2-tiny", "bert-base-tiny", "vit-b16-tiny", "llama-block-tiny"]

# So large that one batch was predicted once. In its third batch, of four examples of two classes,
# the gradients nearly cancel: that of the last bias is 16 times as short as in the first.
CANCELLING = make_bert("cancelling", tuple(range(104, 128, 2)), (1, 256, 4), (44, 128), (4, 4))


def predict(model, dtype, weights=None, batch=None):
    weights = weights or seeding.draw_weights(model, 0)
    batch = batch or seeding.draw_batches(model, model.batch_size, 0)[0]
    exact = Network(model, wide(weights), OPERATIONS)
    rounded = prediction.make_rounded_network(model, weights, dtype)
    return prediction.measure_errors(
        accumulate_gradients(exact, batch), accumulate_gradients(rounded, batch, dtype)
    )


def test_errors_are_distances_relative_to_the_exact_values():
    exact = (2.0, {"w": numpy.array([3.0, 4.0]), "b": numpy.zeros(2), "c": numpy.zeros(2)})
    rounded = (2.1, {"w": numpy.array([3.0, 4.5]), "b": numpy.zeros(2), "c": numpy.ones(2)})
    found = prediction.measure_errors(exact, rounded)
    assert found.loss == pytest.approx(0.05)
    assert found.gradients == {"w": pytest.approx(0.1), "b": 0.0, "c": float("inf")}


@pytest.mark.parametrize("dtype", DTYPES)
def test_values_of_few_bits_have_no_error(dtype):
    model = model_of(VECTOR, Linear("f", 2), loss=ZERO)
    weights = {
        "f.weight": numpy.arange(12, dtype=numpy.float32).reshape(2, 6),
        "f.bias": numpy.ones(2, numpy.float32),
    }
    batch = Batch(numpy.eye(6, dtype=numpy.float32)[:4])
    assert predict(model, dtype, weights, batch) == PredictedErrors(
        0.0, {"f.weight": 0.0, "f.bias": 0.0}
    )


def test_a_rounded_input_moves_the_loss_as_worked_by_hand():
    model = model_of(VECTOR, Linear("f", 1, bias=False), loss=ZERO)
    weights = {"f.weight": numpy.array([[1, 0, 0, 0, 0, 0]], numpy.float32)}
    inputs = numpy.zeros((1, 6), numpy.float32)
    inputs[0, 0] = 1 + 2.0**-8  # bfloat16 rounds it to 1, float16 does not
    found = predict(model, "bfloat16", weights, Batch(inputs))
    square = (1 + 2.0**-8) ** 2
    assert found.loss == pytest.approx((square - 1) / square)
    assert found.gradients["f.weight"] == pytest.approx((square - 1) / square)
    # Its square, the weight's gradient, has 16 bits: half a step of 2^-10 is the most.
    assert predict(model, "float16", weights, Batch(inputs)).gradients["f.weight"] <= 2.0**-11


@pytest.mark.parametrize("name", TWINS)
def test_errors_grow_from_float32_to_tf32_to_bfloat16_and_float16_is_an_eighth_of_it(name):
    found = [predict(MODELS[name], dtype).gradients for dtype in DTYPES]
    float32, tf32, _, float16 = (numpy.median(list(own.values())) for own in found)
    assert 0 < float32 < 1e-6
    assert 1000 * float32 < tf32 < 1.1 * float16  # tf32 rounds operands alone
    ratios = [found[2][parameter] / found[3][parameter] for parameter in found[2]]
    assert 6 < numpy.median(ratios) < 10.7


@pytest.mark.parametrize("dtype", ["tf32", "bfloat16", "float16"])
@pytest.mark.parametrize("name", TWINS)
def test_rounding_alone_moves_no_gradient_of_a_small_transformer_far(name, dtype):
    model = MODELS[name]
    known = compute_reference(model, model.batch_size, 0, dtype)
    assert set(known.predicted.gradients) == set(known.shapes)
    assert prediction.list_weak(known.predicted) == ()


def test_a_prediction_is_needed_in_a_lower_precision_and_for_batch_normalization():
    assert not prediction.needs_prediction(MODELS["gpt2-tiny"], "float32")
    assert prediction.needs_prediction(MODELS["resnet50-tiny"], "float32")
    assert prediction.needs_prediction(MODELS["gpt2-tiny"], "bfloat16")


def test_weak_gradients_are_counted_and_the_worst_is_named():
    found = PredictedErrors(0.0, {"a.weight": 0.01, "b.weight": 0.07, "b.bias": 0.4})
    assert prediction.list_weak(found) == (
        "weak proof of 2 of 3 gradients: rounding alone moves b.bias by 40%",
    )


def test_a_float32_prediction_makes_each_jump_that_rounding_may_make():
    model = MODELS["resnet50-tiny"]
    batch = seeding.draw_batches(model, model.batch_size, 0)[0]
    batch = batch._replace(inputs=batch.inputs.astype(numpy.float64))
    weights = seeding.draw_weights(model, 0)
    exact, jumping = (
        Network(model, weights, OPERATIONS),
        prediction.make_rounded_network(model, weights, "float32"),
    )
    errors, crossings = tie_distance.estimate_rounding(model), 0
    for (layer, inputs, kept), (_, _, crossed) in zip(
        exact.steps(batch), jumping.steps(batch), strict=True
    ):
        if isinstance(layer, Relu):
            x = inputs[0]
            near = abs(x) < 0.9 * prediction.NEAR * errors[layer.name] * (x**2).mean() ** 0.5
            assert ((kept > 0) != (crossed > 0))[near].all()
            crossings += int(near.sum())
        assert numpy.allclose(kept, crossed, rtol=0, atol=1e-4)
    assert crossings


def test_one_unit_at_a_jump_moves_the_predicted_gradients_before_it():
    model = MODELS["resnet50-tiny"]
    by_seed = [compute_reference(model, model.batch_size, seed).predicted for seed in (0, 1)]
    at_a_jump, clear = (max(own.gradients.values()) for own in by_seed)
    assert clear < 1e-5 < 1e-3 < at_a_jump


@pytest.mark.slow
def test_padded_batches_in_which_gradients_nearly_cancel_agree_in_bfloat16():
    """The framework rounds less than the prediction: it keeps products in float32."""
    precision = PRECISIONS["bfloat16"]._replace(result_bits=23)
    verified = verify(Adapter, CANCELLING, "bfloat16", precision)
    first = predict(CANCELLING, "bfloat16").gradients
    usual = FACTOR * numpy.median(list(first.values()))
    off = {own.name: own.error for own in verified.parameters}
    assert off["classifier.bias"] > max(usual, FACTOR * first["classifier.bias"])


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [Unmasked, merge_heads_in((1, 0, 2, 3), "block1_attention", 64)],
    ids=["attention to padding", "heads in another order"],
)
def test_an_error_is_caught_in_padded_batches_in_which_gradients_nearly_cancel(kind):
    catch(kind, CANCELLING, "bfloat16")


def test_a_short_gradient_of_few_values_is_expected_to_be_as_far_off_as_the_others():
    found = [PredictedErrors(0.1, {"a": 0.1, "b": 0.3}), PredictedErrors(0.2, {"a": 0.1, "b": 0.0})]
    norms = {"a": [2.0, 2.0], "b": [1.0, 1.0, 0.1]}
    assert prediction.merge_errors(found, norms, []) == PredictedErrors(0.2, {"a": 0.1, "b": 0.3})
    merged = prediction.merge_errors(found, norms, ["a", "b"]).gradients
    assert merged == {"a": pytest.approx(0.1), "b": pytest.approx(10 * 0.3 / 2**0.5)}


def test_a_gradient_of_zeros_counts_for_no_length():
    found = [PredictedErrors(0.0, {"a": 0.0, "b": float("inf"), "c": 0.0})]
    norms = {"a": [0.0, 0.0], "b": [0.0], "c": [1.0, 0.0]}
    merged = prediction.merge_errors(found, norms, ["a", "b", "c"])
    assert merged.gradients == {"a": 0.0, "b": float("inf"), "c": 0.0}
