"""Each planted error is caught in each precision; the honest framework of that precision agrees."""

import pytest
from planted_errors import IMAGES, WORDS
from precision_errors import (
    FIRST_USE_ALONE,
    GELU_OF_ERF,
    LAST_USE_ALONE,
    NO_LAYER_EPSILON,
    NO_RMS_EPSILON,
    SEES_ONE_STEP_MORE,
    SMALL_SQUARES,
    SMALL_VALUES,
    Unmasked,
    merge_heads_in,
    rotate_further,
    scale_gradients,
    tile_keys,
    transpose,
)
from rounded_adapters import (
    BERT,
    DTYPES,
    GPT2,
    LLAMA,
    RESNET,
    SMALL,
    TWINS,
    VIT,
    catch,
    refer,
    round_pointwise,
    verify,
)

from velodrome.adapters.contract import LOSS_SCALE
from velodrome.adapters.frameworks.numpy.adapter import Adapter
from velodrome.adapters.frameworks.numpy.rounding import PRECISIONS
from velodrome.adapters.models.layers import Attention, Model
from velodrome.adapters.tolerances import FACTOR, JUMP, MOST

SMOOTH = (VIT, BERT, GPT2, LLAMA, WORDS)  # without ReLU and max-pooling
LOWER = ("tf32", "bfloat16", "float16")
(ROTARY,) = (layer for layer in LLAMA.layers if isinstance(layer, Attention))
HEAD = 8  # values of a head, in all twins

PLANTED = {
    "a transposed weight before a ReLU": (IMAGES, transpose("square.weight")),
    "a transposed output weight": (GPT2, transpose("block1_attention.weight_output")),
    "a transposed weight of an encoder": (VIT, transpose("block2_attention.weight_output")),
    "a causal mask that shows the next step": (GPT2, SEES_ONE_STEP_MORE),
    "a causal mask of shared keys that shows the next step": (LLAMA, SEES_ONE_STEP_MORE),
    "attention to padding": (BERT, Unmasked),
    "a state that goes on in the padding": (WORDS, Unmasked),
    "a layer norm without epsilon": (SMALL_VALUES, NO_LAYER_EPSILON),
    "an RMS norm without epsilon": (SMALL_SQUARES, NO_RMS_EPSILON),
    "a tied weight with the gradient of the embedding alone": (GPT2, FIRST_USE_ALONE),
    "a tied weight with the gradient of the last layer alone": (GPT2, LAST_USE_ALONE),
    "queries rotated by a step more than keys": (LLAMA, rotate_further(ROTARY, HEAD, 4)),
    "heads merged in another order": (GPT2, merge_heads_in((1, 0, 2, 3), "block2_attention", HEAD)),
    "heads of an encoder in another order": (
        BERT,
        merge_heads_in((0, 1, 3, 2), "block1_attention", HEAD),
    ),
    "shared keys tiled, not repeated": (LLAMA, tile_keys(ROTARY, HEAD)),
}


def _name(value: object) -> str:
    return getattr(value, "name", str(value))


@pytest.mark.parametrize("dtype", ("tf32", *DTYPES))
@pytest.mark.parametrize("model", (*TWINS, *SMALL), ids=_name)
def test_an_honest_framework_agrees(model: Model, dtype: str) -> None:
    verified = verify(Adapter, model, dtype)
    # Where ReLU and batch normalization meet bfloat16, some gradients are not proven by themselves.
    capped = [entry for entry in verified.parameters if not entry.allowed < MOST]
    assert not capped or (model.name, dtype) == ("resnet50-tiny", "bfloat16")
    if dtype != "float32":
        assert verified.gradient_error > 1e-4


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("model", (*TWINS, *SMALL), ids=_name)
def test_a_framework_that_keeps_float32_results_of_its_products_agrees(
    model: Model, dtype: str
) -> None:
    verify(Adapter, model, dtype, PRECISIONS[dtype]._replace(result_bits=23))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("model", (*TWINS, *SMALL), ids=_name)
def test_a_framework_whose_pointwise_layers_round_too_agrees(model: Model, dtype: str) -> None:
    verify(round_pointwise(PRECISIONS[dtype]), model, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("error", PLANTED)
def test_a_planted_error_is_caught_in_each_precision(error: str, dtype: str) -> None:
    model, kind = PLANTED[error]
    catch(kind, model, dtype)


@pytest.mark.parametrize("dtype", ("tf32", *DTYPES))
@pytest.mark.parametrize("model", (*TWINS, *SMALL), ids=_name)
@pytest.mark.parametrize("factor", ["batch", "loss scale"])
def test_a_factor_of_a_gradient_is_caught_in_every_parameter(
    model: Model, dtype: str, factor: str
) -> None:
    factors = {"batch": model.batch_size, "loss scale": LOSS_SCALE}
    caught = catch(scale_gradients(factors[factor]), model, dtype)
    assert [entry.name for entry in caught.parameters if not entry.error > entry.allowed] == []


@pytest.mark.parametrize("dtype", ("tf32", *DTYPES))
@pytest.mark.parametrize("model", SMOOTH, ids=_name)
def test_a_gradient_half_as_long_is_caught_in_every_parameter(model: Model, dtype: str) -> None:
    caught = catch(scale_gradients(0.5), model, dtype)
    assert [entry.name for entry in caught.parameters if not entry.error > entry.allowed] == []


@pytest.mark.parametrize("dtype", LOWER)
@pytest.mark.parametrize(("model", "last"), [(RESNET, "classifier"), (IMAGES, "fc2")], ids=_name)
def test_gradients_half_as_long_are_caught_by_their_median_where_each_may_jump(
    model: Model, last: str, dtype: str
) -> None:
    """Those behind the last ReLU, which cannot jump, are right here."""
    caught = catch(scale_gradients(0.5, but=last), model, dtype)
    assert str(caught) == "most gradients are 0.5 times as long as the reference's"


@pytest.mark.parametrize("dtype", LOWER)
@pytest.mark.parametrize(("model", "last"), [(RESNET, "classifier"), (IMAGES, "fc2")], ids=_name)
def test_gradients_behind_the_last_jump_are_held_to_their_own_predictions(
    model: Model, last: str, dtype: str
) -> None:
    known = refer(model, dtype)
    for name in known.predicted.gradients:
        if name.startswith(last):
            assert known.gradient_tolerance(name) < 0.04
        else:
            assert known.gradient_tolerance(name) >= FACTOR * JUMP


@pytest.mark.parametrize(
    ("claimed", "computed"),
    [
        ("float32", "tf32"),
        ("float32", "float16"),
        ("float32", "bfloat16"),
        ("tf32", "bfloat16"),
        ("float16", "bfloat16"),
    ],
)
@pytest.mark.parametrize("model", (*TWINS, *SMALL), ids=_name)
def test_a_lower_precision_than_claimed_is_caught(
    model: Model, claimed: str, computed: str
) -> None:
    catch(Adapter, model, claimed, PRECISIONS[computed])


def test_rotary_positions_that_all_begin_at_one_are_no_error() -> None:
    """A product of a query and a key depends on the distance of their positions alone."""
    shared = ROTARY.heads + ROTARY.key_value_heads
    assert verify(rotate_further(ROTARY, HEAD, shared), LLAMA, "float32").gradient_error < 1e-6


def test_gelu_of_the_error_function_is_caught_in_float32() -> None:
    caught = catch(GELU_OF_ERF, GPT2, "float32")
    worst = max(entry.error for entry in caught.parameters)
    assert 1e-4 < worst < 1e-2


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_gelu_of_the_error_function_is_within_the_rounding_of_a_low_precision(dtype: str) -> None:
    verify(GELU_OF_ERF, GPT2, dtype)


def test_a_missing_epsilon_of_1e5_is_caught_in_float32_and_within_bfloat16s_rounding() -> None:
    caught = catch(NO_LAYER_EPSILON, GPT2, "float32")
    assert 5e-5 < max(entry.error for entry in caught.parameters) < 1e-3
    verify(NO_LAYER_EPSILON, GPT2, "bfloat16")
