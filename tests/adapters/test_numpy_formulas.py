"""The reference itself: forward against the formula written out."""

import math

import numpy
import pytest
from small_models import IMAGE, VECTOR, WORDS, ZERO, inputs_of, model_of, outputs_of, wide

from velodrome.adapters.frameworks.numpy.network import OPERATIONS, Network
from velodrome.adapters.models.layers import (
    Attention,
    AvgPool,
    BatchNorm,
    Conv,
    Custom,
    DilatedConv,
    Embedding,
    Gru,
    Images,
    Linear,
    Loop,
    Lrn,
    Lstm,
    MaxPool,
    MeanOverTime,
    TransposedConv,
)
from velodrome.adapters.proof import seeding


def test_convolution_is_cross_correlation_in_groups() -> None:
    model = model_of(IMAGE, Conv("c", 6, 3, stride=2, padding=1, groups=2))
    batch, weights = inputs_of(model, 2), wide(seeding.draw_weights(model, 0))
    found = outputs_of(model, batch, weights)["c"]
    padded = numpy.pad(batch.inputs, ((0, 0), (0, 0), (1, 1), (1, 1)))
    for n, m, row, column in numpy.ndindex(*found.shape):
        first = 0 if m < 3 else 2
        window = padded[n, first : first + 2, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3]
        expected = (window * weights["c.weight"][m]).sum() + weights["c.bias"][m]
        assert found[n, m, row, column] == pytest.approx(expected, abs=1e-12)


def test_max_pool_takes_the_maximum_of_each_whole_window() -> None:
    model = model_of(Images(1, 6, 5), MaxPool("p", 3, 2))
    batch = inputs_of(model, 1)
    found = outputs_of(model, batch, {})["p"]
    assert found.shape == (1, 1, 2, 2)
    assert found[0, 0, 1, 1] == batch.inputs[0, 0, 2:5, 2:5].max()


def test_lrn_divides_by_the_mean_of_its_neighbours() -> None:
    model = model_of(Images(7, 1, 1), Lrn("n", size=5, alpha=0.3, beta=0.75, k=1.5))
    batch = inputs_of(model, 1)
    x = batch.inputs[0, :, 0, 0]
    found = outputs_of(model, batch, {})["n"][0, :, 0, 0]
    for channel in range(7):
        square = sum(x[c] ** 2 for c in range(channel - 2, channel + 3) if 0 <= c < 7)
        assert found[channel] == pytest.approx(x[channel] / (1.5 + 0.3 / 5 * square) ** 0.75)


def _compute_lstm(x: numpy.ndarray, weights: dict, units: int) -> list:
    """Compute one sequence value by value. Gates i, f, g, o."""
    h, c, outputs = [0.0] * units, [0.0] * units, []
    for step in x:
        before = (
            weights["l.weight_input"] @ step + weights["l.weight_hidden"] @ h + weights["l.bias"]
        )
        gate = [1 / (1 + math.exp(-value)) for value in before]
        for unit in range(units):
            squashed = math.tanh(before[2 * units + unit])
            c[unit] = gate[units + unit] * c[unit] + gate[unit] * squashed
        h = [gate[3 * units + unit] * math.tanh(c[unit]) for unit in range(units)]
        outputs.append(h)
    return outputs


def test_lstm_follows_the_textbook_and_masked_steps_keep_the_state() -> None:
    model = model_of(WORDS, Embedding("e", 7, 3), Lstm("l", 4), MeanOverTime("m"))
    batch, weights = inputs_of(model, 4), wide(seeding.draw_weights(model, 2))
    outputs = outputs_of(model, batch, weights)
    for row, length in enumerate(batch.lengths):
        expected = numpy.array(_compute_lstm(outputs["e"][row, :length], weights, 4))
        assert outputs["l"][row, :length] == pytest.approx(expected)
        assert (outputs["l"][row, length:] == outputs["l"][row, length - 1]).all()
        assert outputs["m"][row] == pytest.approx(expected.mean(axis=0))


def test_custom_uses_its_own_backward_rule_instead_of_the_derivative() -> None:
    model = model_of(VECTOR, Linear("a", 4), Custom("c"), loss=ZERO)
    batch, weights = inputs_of(model, 4), wide(seeding.draw_weights(model, 0))
    outputs = outputs_of(model, batch, weights)
    x = outputs["a"]
    assert outputs["c"] == pytest.approx(numpy.sign(x) * x * x)
    of_x = outputs["c"] / len(x) * 2 * abs(x) / (1 + abs(x))
    gradient = Network(model, weights, OPERATIONS).gradient(batch).gradients["a.bias"]
    assert gradient == pytest.approx(of_x.sum(axis=0))


def test_a_transposed_convolution_is_the_transpose_of_the_convolution() -> None:
    there = model_of(Images(3, 9, 7), Conv("c", 2, 3, stride=2, padding=1))
    back = model_of(Images(2, 5, 4), TransposedConv("t", 3, 3, stride=2, padding=1))
    x, y = inputs_of(there, 1), inputs_of(back, 1)
    weight = numpy.random.RandomState(0).standard_normal((2, 3, 3, 3))
    convolved = outputs_of(there, x, {"c.weight": weight, "c.bias": numpy.zeros(2)})["c"]
    spread = outputs_of(back, y, {"t.weight": weight, "t.bias": numpy.zeros(3)})["t"]
    assert (convolved * y.inputs).sum() == pytest.approx((spread * x.inputs).sum())


def test_a_dilated_convolution_has_gaps_in_its_kernel() -> None:
    dilated = model_of(IMAGE, DilatedConv("c", 3, 2, dilation=3, padding=1))
    plain = model_of(IMAGE, Conv("c", 3, 4, padding=1))
    batch, weights = inputs_of(dilated, 2), wide(seeding.draw_weights(dilated, 0))
    kernel = numpy.zeros((3, 4, 4, 4))
    kernel[:, :, ::3, ::3] = weights["c.weight"]
    expected = outputs_of(plain, batch, {**weights, "c.weight": kernel})["c"]
    assert outputs_of(dilated, batch, weights)["c"] == pytest.approx(expected)


def test_batch_norm_output_has_the_scale_as_deviation_and_the_bias_as_mean() -> None:
    model = model_of(IMAGE, BatchNorm("n", epsilon=0.0))
    weights = {"n.scale": numpy.array([1.0, 2.0, 3.0, 4.0]), "n.bias": numpy.arange(4.0)}
    found = outputs_of(model, inputs_of(model, 5), weights)["n"]
    assert found.mean(axis=(0, 2, 3)) == pytest.approx(weights["n.bias"])
    assert found.std(axis=(0, 2, 3)) == pytest.approx(weights["n.scale"])


def test_average_pool_is_the_mean_of_each_whole_window() -> None:
    model = model_of(Images(1, 6, 5), AvgPool("p", 3, 2))
    batch = inputs_of(model, 1)
    found = outputs_of(model, batch, {})["p"]
    assert found.shape == (1, 1, 2, 2)
    assert found[0, 0, 1, 1] == pytest.approx(batch.inputs[0, 0, 2:5, 2:5].mean())


def _compute_gru(x: numpy.ndarray, weights: dict, units: int) -> list:
    """Compute one sequence value by value. Gates r, z, n; reset acts after the hidden product."""
    h, outputs = [0.0] * units, []
    for step in x:
        own = weights["g.weight_input"] @ step + weights["g.bias"]
        back = weights["g.weight_hidden"] @ h + weights["g.bias_hidden"]
        after = []
        for unit in range(units):
            r = 1 / (1 + math.exp(-own[unit] - back[unit]))
            z = 1 / (1 + math.exp(-own[units + unit] - back[units + unit]))
            n = math.tanh(own[2 * units + unit] + r * back[2 * units + unit])
            after.append((1 - z) * n + z * h[unit])
        h = after
        outputs.append(h)
    return outputs


def test_gru_follows_cudnn_and_masked_steps_keep_the_state() -> None:
    model = model_of(WORDS, Embedding("e", 7, 3), Gru("g", 4), MeanOverTime("m"))
    batch, weights = inputs_of(model, 4), wide(seeding.draw_weights(model, 2))
    outputs = outputs_of(model, batch, weights)
    for row, length in enumerate(batch.lengths):
        expected = numpy.array(_compute_gru(outputs["e"][row, :length], weights, 4))
        assert outputs["g"][row, :length] == pytest.approx(expected)
        assert (outputs["g"][row, length:] == outputs["g"][row, length - 1]).all()


def test_attention_mixes_unmasked_values_head_by_head() -> None:
    model = model_of(WORDS, Embedding("e", 7, 4), Attention("a", 2))
    batch, weights = inputs_of(model, 4), wide(seeding.draw_weights(model, 2))
    outputs = outputs_of(model, batch, weights)
    for row, length in enumerate(batch.lengths):
        x = outputs["e"][row, :length]
        query, key, value = (x @ weights["a.weight_input"][n : n + 4].T for n in range(0, 12, 4))
        for step in range(length):
            mixed = numpy.empty(4)
            for head in (slice(0, 2), slice(2, 4)):
                powers = numpy.exp(key[:, head] @ query[step, head] / math.sqrt(2))
                mixed[head] = powers / powers.sum() @ value[:, head]
            expected = weights["a.weight_output"] @ mixed
            assert outputs["a"][row, step] == pytest.approx(expected)


def test_a_loop_takes_the_given_number_of_steps() -> None:
    model = model_of(VECTOR, Loop("l", 3))
    batch, weights = inputs_of(model, 2), wide(seeding.draw_weights(model, 0))
    x = batch.inputs
    for _ in range(3):
        x = numpy.tanh(x @ weights["l.weight"].T + weights["l.bias"])
    assert outputs_of(model, batch, weights)["l"] == pytest.approx(x)
