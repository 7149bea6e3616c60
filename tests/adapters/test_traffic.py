"""Bytes moved, worked out by hand."""

import pytest

from velodrome.adapters.models import MODELS
from velodrome.adapters.models.layers import (
    Embedding,
    Linear,
    MeanOverTime,
    Model,
    Relu,
    Sequences,
    SoftmaxCrossEntropy,
    StepCrossEntropy,
    TiedLinear,
    Tokens,
    Vectors,
)
from velodrome.adapters.models.products import count_copied_bytes
from velodrome.adapters.models.traffic import (
    UPDATE_VALUES,
    estimate_forward_bytes,
    estimate_gradient_bytes,
    estimate_inference_bytes,
    estimate_update_bytes,
)
from velodrome.adapters.optimizers import NAMES


def test_a_matrix_product_reads_two_matrices_and_writes_one() -> None:
    assert estimate_forward_bytes(MODELS["gemm-1024"], 1024) == 4 * 4 * 1024**2


def test_the_gradient_of_a_product_reads_two_matrices_and_writes_one_more() -> None:
    assert estimate_gradient_bytes(MODELS["gemm-1024"], 1024) == (4 + 3) * 4 * 1024**2


def test_a_copy_moves_exactly_its_bytes() -> None:
    assert (
        estimate_forward_bytes(MODELS["copy"], 1) == count_copied_bytes(MODELS["copy"], 1) == 2**29
    )


TWO = Model(
    name="two",
    about="",
    input=Vectors(10, "normal"),
    layers=(Linear("a", units=20), Relu("r"), Linear("b", units=5)),
    loss=SoftmaxCrossEntropy(),
    classes=5,
    batch_size=3,
    gpu_batch_size=3,
)


def test_inference_does_not_read_its_output_for_a_loss() -> None:
    assert estimate_forward_bytes(TWO, 3) - estimate_inference_bytes(TWO, 3) == 4 * 3 * 5


def test_an_update_reads_and_writes_each_trained_value_and_those_of_the_optimizer() -> None:
    trained = 10 * 20 + 20 + 20 * 5 + 5
    # p, g and v are read, p and v written; AdamW has m and v.
    assert estimate_update_bytes(TWO, "sgd") == 4 * 5 * trained
    assert estimate_update_bytes(TWO, "adamw") == 4 * 7 * trained
    assert {*UPDATE_VALUES} == {*NAMES}


def test_elementwise_layers_cost_no_traffic() -> None:
    first, second = 30 + 10 * 20 + 20 + 60, 60 + 20 * 5 + 5 + 15
    assert estimate_forward_bytes(TWO, 3) == 4 * (first + second + 15)


def test_no_gradient_is_written_for_the_example() -> None:
    of_second = 15 + (60 + 105) + (105 + 60)  # comes back; weight's gradient; what flows on
    of_first = 60 + (30 + 220)
    assert estimate_gradient_bytes(TWO, 3) - estimate_forward_bytes(TWO, 3) == 4 * (
        of_first + of_second
    )


def test_an_embedding_reads_only_the_rows_of_its_tokens() -> None:
    model = Model(
        name="words",
        about="",
        input=Sequences(vocabulary=1000, lengths=(2, 4)),
        layers=(Embedding("e", vocabulary=1000, units=8), MeanOverTime("m"), Linear("l", units=2)),
        loss=SoftmaxCrossEntropy(),
        classes=2,
        batch_size=2,
        gpu_batch_size=2,
    )
    tokens = 2 * 3
    embedding, mean, linear = tokens + 2 * 8 * tokens, 8 * tokens + 16, 16 + 18 + 4
    assert estimate_forward_bytes(model, 2) == pytest.approx(4 * (embedding + mean + linear + 4))


TIED = Model(
    name="tied",
    about="",
    input=Tokens(vocabulary=10, length=3),
    layers=(Embedding("e", vocabulary=10, units=4), TiedLinear("words", embedding="e")),
    loss=StepCrossEntropy(),
    classes=10,
    batch_size=2,
    gpu_batch_size=2,
)


def test_a_tied_layer_reads_the_whole_weight_that_the_embedding_reads_by_rows() -> None:
    tokens = 2 * 3
    embedding = tokens + 4 * tokens + 4 * tokens
    tied = 4 * tokens + 10 * 4 + 10 * tokens
    assert estimate_forward_bytes(TIED, 2) == 4 * (embedding + tied + 10 * tokens)


def test_both_uses_of_a_tied_weight_write_its_gradient() -> None:
    tokens = 2 * 3
    tied = 10 * tokens + (4 * tokens + 10 * 4) + (10 * 4 + 4 * tokens)
    embedding = 4 * tokens + (tokens + 10 * 4)
    moved = estimate_gradient_bytes(TIED, 2) - estimate_forward_bytes(TIED, 2)
    assert moved == 4 * (tied + embedding)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_outputs_in_half_the_bits_move_half_the_bytes_and_parameters_all(dtype: str) -> None:
    values, parameters = 30 + 60 + 60 + 15 + 15, 10 * 20 + 20 + 20 * 5 + 5
    assert estimate_forward_bytes(TWO, 3) == 4 * (values + parameters)
    assert estimate_forward_bytes(TWO, 3, dtype) == 2 * values + 4 * parameters
    assert estimate_forward_bytes(TWO, 3, "tf32") == estimate_forward_bytes(TWO, 3)
    written, read_again = 105 + 220, 105  # gradients of both layers; the second layer's copies
    of_values = 15 + 60 + 60 + 60 + 30
    backward = estimate_gradient_bytes(TWO, 3, dtype) - estimate_forward_bytes(TWO, 3, dtype)
    assert backward == 2 * (of_values + read_again) + 4 * written
