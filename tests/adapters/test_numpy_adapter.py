"""The reference itself: forward against the formula written out, gradients against differences."""

import math
import zlib

import numpy
import pytest

from velodrome.adapters import reference, seeding
from velodrome.adapters.contract import Batch, Unsupported
from velodrome.adapters.models import MODELS, families, shapes
from velodrome.adapters.models import layers as kinds
from velodrome.adapters.models.layers import (
    Add,
    Attention,
    AvgPool,
    BatchNorm,
    Conv,
    Custom,
    DilatedConv,
    Dropout,
    Duplicate,
    Embedding,
    Gru,
    Images,
    Linear,
    Loop,
    Lrn,
    Lstm,
    MaxPool,
    MeanOverTime,
    Model,
    Relu,
    Sequences,
    Sigmoid,
    SoftmaxCrossEntropy,
    SquaredError,
    Tanh,
    TransposedConv,
    Vectors,
)
from velodrome.adapters.models.probes import PROBES
from velodrome.adapters.numpy.adapter import Adapter
from velodrome.adapters.numpy.network import OPERATIONS, Network

STEP = 1e-5
IMAGE = Images(4, 9, 8)
PLANE = Images(1, 7, 7)
VECTOR = Vectors(6, "normal")
WORDS = Sequences(7, (1, 3, 5, 5))
CROSS_ENTROPY = SoftmaxCrossEntropy()
ZERO = SquaredError("zero")


def _model(source: kinds.Input, *layers: kinds.Layer, loss: kinds.Loss = CROSS_ENTROPY) -> Model:
    return Model("small", "", source, layers, loss, 3, 4, 4)


def _wide(arrays: dict) -> dict:
    return {name: array.astype(numpy.float64) for name, array in arrays.items()}


def _inputs(model: Model, batch_size: int) -> Batch:
    batch = seeding.batches(model, batch_size, 5)[0]
    if batch.inputs.dtype.kind == "i":
        return batch
    return batch._replace(inputs=batch.inputs.astype(numpy.float64))


SMALL = {
    "conv": _model(IMAGE, Conv("c", 3, 3), Linear("f", 3)),
    "conv with stride and padding": _model(IMAGE, Conv("c", 3, 3, stride=2, padding=1), loss=ZERO),
    "conv whose stride leaves a rest": _model(IMAGE, Conv("c", 3, 2, stride=3), loss=ZERO),
    "conv in groups": _model(IMAGE, Conv("a", 6, 2, groups=2), Conv("b", 4, 3, 1, 1, 2), loss=ZERO),
    "depthwise conv": _model(IMAGE, Conv("c", 8, 3, groups=4), Linear("f", 3)),
    "max-pool": _model(PLANE, Conv("c", 2, 2), MaxPool("p", 2, 2), Linear("f", 3)),
    "max-pool that overlaps": _model(PLANE, Conv("c", 2, 1), MaxPool("p", 3, 2), Linear("f", 3)),
    "LRN": _model(IMAGE, Conv("c", 7, 3), Lrn("n", 5, alpha=2.0), Linear("f", 3)),
    "LRN of two channels": _model(IMAGE, Conv("c", 5, 3), Lrn("n", 2, 1.0, 0.6, 2.0), loss=ZERO),
    "tanh": _model(VECTOR, Linear("a", 5), Tanh("t"), Linear("b", 3)),
    "sigmoid": _model(VECTOR, Linear("a", 5), Sigmoid("s"), Linear("b", 3)),
    "ReLU": _model(VECTOR, Linear("a", 9), Relu("r"), Linear("b", 3)),
    "linear without bias": _model(VECTOR, Linear("a", 3, bias=False), loss=ZERO),
    "dropout that is off": _model(VECTOR, Linear("a", 5), Dropout("d", 0.5), Linear("b", 3)),
    "duplicate": _model(VECTOR, Linear("a", 5), Duplicate("d"), Linear("b", 3)),
    "embedding": _model(WORDS, Embedding("e", 7, 3), MeanOverTime("m"), Linear("f", 3)),
    "LSTM of unequal lengths": _model(
        WORDS, Embedding("e", 7, 3), Lstm("l", 4), MeanOverTime("m"), Linear("f", 3)
    ),
    "two LSTMs": _model(
        WORDS, Embedding("e", 7, 3), Lstm("a", 4), Lstm("b", 2), MeanOverTime("m"), Linear("f", 3)
    ),
    "dilated conv": _model(
        IMAGE, DilatedConv("a", 3, 3, 2, 1), DilatedConv("b", 2, 2, 3), loss=ZERO
    ),
    "transposed conv": _model(IMAGE, Conv("a", 3, 2), TransposedConv("b", 2, 3, 2, 1), loss=ZERO),
    "transposed conv without padding": _model(
        PLANE, TransposedConv("a", 3, 2, 3), TransposedConv("b", 2, 3), loss=ZERO
    ),
    "average pool that overlaps": _model(
        PLANE, Conv("c", 2, 2), AvgPool("p", 3, 2), Linear("f", 3)
    ),
    "batch norm": _model(IMAGE, Conv("c", 3, 3), Tanh("t"), BatchNorm("n"), Linear("f", 3)),
    "sum of two": _model(
        VECTOR, Linear("a", 3), Tanh("t"), Linear("b", 3), Add("s", ("t", "b")), Linear("c", 3)
    ),
    "sum of the same": _model(VECTOR, Linear("a", 3), Add("s", ("a", "a")), Linear("c", 3)),
    "loop": _model(VECTOR, Linear("a", 4), Loop("l", 6), Linear("b", 3)),
    "loop over the input": _model(VECTOR, Loop("l", 1), Linear("b", 3)),
    "two GRUs": _model(
        WORDS, Embedding("e", 7, 3), Gru("a", 4), Gru("b", 2), MeanOverTime("m"), Linear("f", 3)
    ),
    "attention": _model(
        WORDS,
        Embedding("e", 7, 6),
        Attention("a", 2),
        Attention("b", 3),
        MeanOverTime("m"),
        Linear("f", 3),
    ),
    "squared error to the input": _model(
        VECTOR, Linear("a", 4), Sigmoid("s"), Linear("b", 6), loss=SquaredError("input")
    ),
    "frozen below": _model(
        VECTOR, Linear("a", 4, frozen=True), Sigmoid("s"), Linear("b", 4), loss=SquaredError("s")
    ),
    "frozen between": _model(VECTOR, Linear("a", 4), Linear("b", 4, frozen=True), Linear("c", 3)),
}


def _difference_error(
    model: Model,
    batch: Batch,
    weights: dict,
    per_parameter: int,
    step: float = STEP,
    dropout: int | None = None,
) -> float:
    """The worst over the parameters of |slope - gradient| / |gradient|, at some coordinates."""
    network = Network(model, weights, OPERATIONS)
    found = network.gradient(batch, _drawn(dropout)).gradients
    assert set(found) == {entry.name for entry in shapes.trained(model)}
    worst = 0.0
    for name, gradient in found.items():
        flat = weights[name].reshape(-1)
        draw = numpy.random.RandomState(zlib.crc32(name.encode()))
        # Not where there is next to none: most words of a vocabulary are in no batch.
        there = abs(gradient) > 0.1 * numpy.sqrt(numpy.mean(gradient**2))
        places = draw.permutation(numpy.flatnonzero(there))[:per_parameter]
        slopes = [_slope(network, batch, flat[place:], step, dropout) for place in places]
        expected = gradient.reshape(-1)[places]
        worst = max(worst, numpy.linalg.norm(slopes - expected) / numpy.linalg.norm(expected))
    return worst


def _slope(
    network: Network, batch: Batch, weight: numpy.ndarray, step: float, dropout: int | None
) -> float:
    """Of the loss, at the first value of weight, which the network shares."""
    before = weight[0]
    losses = []
    for moved in (before + step, before - step):
        weight[0] = moved
        losses.append(network.forward(batch, _drawn(dropout)).loss)
    weight[0] = before
    return (losses[0] - losses[1]) / (2 * step)


def _drawn(seed: int | None) -> numpy.random.RandomState | None:
    return None if seed is None else numpy.random.RandomState(seed)


@pytest.mark.parametrize("name", SMALL)
def test_gradients_are_those_of_central_differences(name: str) -> None:
    model = SMALL[name]
    weights = _wide(seeding.weights(model, 1))
    assert _difference_error(model, _inputs(model, 4), weights, 40) < 1e-6


def test_gradients_with_dropout_pass_where_the_values_passed() -> None:
    model = SMALL["dropout that is off"]
    weights = _wide(seeding.weights(model, 1))
    assert _difference_error(model, _inputs(model, 4), weights, 40, dropout=3) < 1e-6


@pytest.mark.parametrize("name", ["lenet", "lstm", *families()["autoencoder-400-200-100"]])
def test_gradients_of_whole_models_are_those_of_central_differences(name: str) -> None:
    model = MODELS[name]
    weights = _wide(seeding.weights(model, 0))
    assert _difference_error(model, _inputs(model, 3), weights, 4) < 1e-6


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.model.name)
def test_every_gradient_of_a_probe_is_there_and_is_that_of_differences(probe: object) -> None:
    model = probe.model
    weights = _wide(seeding.weights(model, 0))
    found = Network(model, weights, OPERATIONS).gradient(_inputs(model, 8)).gradients
    assert min(abs(gradient).max() for gradient in found.values()) > 1e-4
    if probe.kind != "Custom":
        assert _difference_error(model, _inputs(model, 8), weights, 4) < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("name", ["alexnet", "alexnet-plain"])
def test_gradients_of_alexnet_are_those_of_central_differences(name: str) -> None:
    # A step of 1e-5 takes some of half a million values past a jump. One of 1e-7 takes none in an
    # example that is clear of them, and leaves the difference of two losses near 7 six digits.
    model = MODELS[name]
    weights = _wide(seeding.weights(model, 0))
    draws, _ = reference.clear_draws(Network(model, weights, OPERATIONS), 1, 0)
    inputs = seeding.batches(model, 1, 0, draws)[0]
    batch = inputs._replace(inputs=inputs.inputs.astype(numpy.float64))
    assert _difference_error(model, batch, weights, 1, step=1e-7) < 3e-5


def _outputs(model: Model, batch: Batch, weights: dict) -> dict:
    return Network(model, weights, OPERATIONS).outputs(batch)


def test_convolution_is_cross_correlation_in_groups() -> None:
    model = _model(IMAGE, Conv("c", 6, 3, stride=2, padding=1, groups=2))
    batch, weights = _inputs(model, 2), _wide(seeding.weights(model, 0))
    found = _outputs(model, batch, weights)["c"]
    padded = numpy.pad(batch.inputs, ((0, 0), (0, 0), (1, 1), (1, 1)))
    for n, m, row, column in numpy.ndindex(*found.shape):
        first = 0 if m < 3 else 2
        window = padded[n, first : first + 2, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3]
        expected = (window * weights["c.weight"][m]).sum() + weights["c.bias"][m]
        assert found[n, m, row, column] == pytest.approx(expected, abs=1e-12)


def test_max_pool_takes_the_largest_of_each_whole_window() -> None:
    model = _model(Images(1, 6, 5), MaxPool("p", 3, 2))
    batch = _inputs(model, 1)
    found = _outputs(model, batch, {})["p"]
    assert found.shape == (1, 1, 2, 2)
    assert found[0, 0, 1, 1] == batch.inputs[0, 0, 2:5, 2:5].max()


def test_lrn_divides_by_its_neighbours_over_the_size() -> None:
    model = _model(Images(7, 1, 1), Lrn("n", size=5, alpha=0.3, beta=0.75, k=1.5))
    batch = _inputs(model, 1)
    x = batch.inputs[0, :, 0, 0]
    found = _outputs(model, batch, {})["n"][0, :, 0, 0]
    for channel in range(7):
        square = sum(x[c] ** 2 for c in range(channel - 2, channel + 3) if 0 <= c < 7)
        assert found[channel] == pytest.approx(x[channel] / (1.5 + 0.3 / 5 * square) ** 0.75)


def _written_out_lstm(x: numpy.ndarray, weights: dict, units: int) -> list:
    """One sequence, value by value. Gates i, f, g, o."""
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


def test_lstm_is_the_textbooks_and_masked_steps_hold_the_state() -> None:
    model = _model(WORDS, Embedding("e", 7, 3), Lstm("l", 4), MeanOverTime("m"))
    batch, weights = _inputs(model, 4), _wide(seeding.weights(model, 2))
    outputs = _outputs(model, batch, weights)
    for row, length in enumerate(batch.lengths):
        expected = numpy.array(_written_out_lstm(outputs["e"][row, :length], weights, 4))
        assert outputs["l"][row, :length] == pytest.approx(expected)
        assert (outputs["l"][row, length:] == outputs["l"][row, length - 1]).all()
        assert outputs["m"][row] == pytest.approx(expected.mean(axis=0))


def test_custom_goes_back_by_its_own_rule_which_is_not_the_derivative() -> None:
    model = _model(VECTOR, Linear("a", 4), Custom("c"), loss=ZERO)
    batch, weights = _inputs(model, 4), _wide(seeding.weights(model, 0))
    outputs = _outputs(model, batch, weights)
    x = outputs["a"]
    assert outputs["c"] == pytest.approx(numpy.sign(x) * x * x)
    of_x = outputs["c"] / len(x) * 2 * abs(x) / (1 + abs(x))
    gradient = Network(model, weights, OPERATIONS).gradient(batch).gradients["a.bias"]
    assert gradient == pytest.approx(of_x.sum(axis=0))


def test_a_transposed_convolution_is_the_transpose_of_the_convolution() -> None:
    there = _model(Images(3, 9, 7), Conv("c", 2, 3, stride=2, padding=1))
    back = _model(Images(2, 5, 4), TransposedConv("t", 3, 3, stride=2, padding=1))
    x, y = _inputs(there, 1), _inputs(back, 1)
    weight = numpy.random.RandomState(0).standard_normal((2, 3, 3, 3))
    convolved = _outputs(there, x, {"c.weight": weight, "c.bias": numpy.zeros(2)})["c"]
    spread = _outputs(back, y, {"t.weight": weight, "t.bias": numpy.zeros(3)})["t"]
    assert (convolved * y.inputs).sum() == pytest.approx((spread * x.inputs).sum())


def test_a_dilated_convolution_is_one_whose_kernel_has_gaps() -> None:
    dilated = _model(IMAGE, DilatedConv("c", 3, 2, dilation=3, padding=1))
    plain = _model(IMAGE, Conv("c", 3, 4, padding=1))
    batch, weights = _inputs(dilated, 2), _wide(seeding.weights(dilated, 0))
    kernel = numpy.zeros((3, 4, 4, 4))
    kernel[:, :, ::3, ::3] = weights["c.weight"]
    expected = _outputs(plain, batch, {**weights, "c.weight": kernel})["c"]
    assert _outputs(dilated, batch, weights)["c"] == pytest.approx(expected)


def test_batch_norm_leaves_scale_and_bias_as_deviation_and_mean() -> None:
    model = _model(IMAGE, BatchNorm("n", epsilon=0.0))
    weights = {"n.scale": numpy.array([1.0, 2.0, 3.0, 4.0]), "n.bias": numpy.arange(4.0)}
    found = _outputs(model, _inputs(model, 5), weights)["n"]
    assert found.mean(axis=(0, 2, 3)) == pytest.approx(weights["n.bias"])
    assert found.std(axis=(0, 2, 3)) == pytest.approx(weights["n.scale"])


def test_average_pool_is_the_mean_of_each_whole_window() -> None:
    model = _model(Images(1, 6, 5), AvgPool("p", 3, 2))
    batch = _inputs(model, 1)
    found = _outputs(model, batch, {})["p"]
    assert found.shape == (1, 1, 2, 2)
    assert found[0, 0, 1, 1] == pytest.approx(batch.inputs[0, 0, 2:5, 2:5].mean())


def _written_out_gru(x: numpy.ndarray, weights: dict, units: int) -> list:
    """One sequence, value by value. Gates r, z, n; reset acts behind the hidden product."""
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


def test_gru_is_cudnns_and_masked_steps_hold_the_state() -> None:
    model = _model(WORDS, Embedding("e", 7, 3), Gru("g", 4), MeanOverTime("m"))
    batch, weights = _inputs(model, 4), _wide(seeding.weights(model, 2))
    outputs = _outputs(model, batch, weights)
    for row, length in enumerate(batch.lengths):
        expected = numpy.array(_written_out_gru(outputs["e"][row, :length], weights, 4))
        assert outputs["g"][row, :length] == pytest.approx(expected)
        assert (outputs["g"][row, length:] == outputs["g"][row, length - 1]).all()


def test_attention_mixes_the_values_of_the_true_steps_head_by_head() -> None:
    model = _model(WORDS, Embedding("e", 7, 4), Attention("a", 2))
    batch, weights = _inputs(model, 4), _wide(seeding.weights(model, 2))
    outputs = _outputs(model, batch, weights)
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


def test_a_loop_takes_as_many_steps_as_it_says() -> None:
    model = _model(VECTOR, Loop("l", 3))
    batch, weights = _inputs(model, 2), _wide(seeding.weights(model, 0))
    x = batch.inputs
    for _ in range(3):
        x = numpy.tanh(x @ weights["l.weight"].T + weights["l.bias"])
    assert _outputs(model, batch, weights)["l"] == pytest.approx(x)


def test_padding_has_no_gradient() -> None:
    model = SMALL["LSTM of unequal lengths"]
    network = Network(model, seeding.weights(model, 0), OPERATIONS)
    gradient = network.gradient(_inputs(model, 4)).gradients["e.weight"]
    assert (gradient[0] == 0).all()
    assert (gradient[1:] != 0).any()


def test_cross_entropy_is_the_mean_in_nats_and_does_not_overflow() -> None:
    model = _model(Vectors(3, "normal"), Duplicate("d"))
    logits = numpy.array([[0.0, 0.0, 0.0], [1e4, 0.0, -1e4]])
    batch = Batch(logits, labels=numpy.array([1, 1], numpy.int32))
    loss = Network(model, {}, OPERATIONS).forward(batch).loss
    assert loss == pytest.approx((math.log(3) + 1e4) / 2)


def test_squared_error_is_summed_over_twice_the_batch() -> None:
    model = _model(Vectors(2, "normal"), Duplicate("d"), loss=ZERO)
    batch = Batch(numpy.array([[1.0, 2.0], [3.0, 4.0]]))
    assert Network(model, {}, OPERATIONS).forward(batch).loss == (1 + 4 + 9 + 16) / 4


def _passed_backward(model: Model) -> list:
    """Names of the layers whose backward ran, last first."""
    ran = []

    def recorded(operation: object) -> object:
        def backward(layer: kinds.Layer, *rest: object) -> object:
            ran.append(layer.name)
            return operation.backward(layer, *rest)

        return operation._replace(backward=backward)

    operations = {kind: recorded(operation) for kind, operation in OPERATIONS.items()}
    Network(model, seeding.weights(model, 0), operations).gradient(_inputs(model, 2))
    return ran


def test_nothing_runs_backward_below_the_first_trained_layer() -> None:
    ran = _passed_backward(MODELS["autoencoder-400-200-100/ae2"])
    assert ran == ["decoded2", "decoder2", "code2", "encoder2"]


def test_no_gradient_flows_through_the_layer_that_is_the_target() -> None:
    model = _model(VECTOR, Linear("a", 4), Sigmoid("s"), Linear("b", 4), loss=SquaredError("s"))
    batch, weights = _inputs(model, 4), _wide(seeding.weights(model, 0))
    network = Network(model, weights, OPERATIONS)
    target = network.outputs(batch)["s"]
    difference = (network.outputs(batch)["b"] - target) / len(target)
    into_s = difference @ weights["b.weight"]
    expected = (into_s * target * (1 - target)).T @ batch.inputs
    assert network.gradient(batch).gradients["a.weight"] == pytest.approx(expected)


def test_calls_add_nothing_up() -> None:
    adapter = _ready(MODELS["lenet"], 2)
    first, second = (dict(adapter.gradients(adapter.gradient(0))) for _ in range(2))
    assert all(numpy.array_equal(first[name], second[name]) for name in first)


def test_dropout_drops_at_its_rate_and_anew_in_each_call() -> None:
    model = _model(VECTOR, Linear("a", 4000), Relu("r"), Dropout("d", 0.25), Linear("b", 3))
    adapter = _ready(model, 4)
    still = adapter.loss(adapter.forward(0))
    adapter.set_dropout(True)
    assert adapter.kept_shares()["d"] == pytest.approx(0.75, abs=0.02)
    losses = {adapter.loss(adapter.forward(0)) for _ in range(3)}
    assert len(losses) == 3
    adapter.set_dropout(False)
    assert adapter.loss(adapter.forward(0)) == still


def _ready(model: Model, batch_size: int) -> Adapter:
    adapter = Adapter(model, "float64", "cpu", 1, "float32")
    adapter.build(seeding.weights(model, 0))
    adapter.load(seeding.batches(model, batch_size, 0))
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
def test_what_numpy_has_not_is_unsupported(
    variant: str, device: str, dtype: str, missing: str
) -> None:
    with pytest.raises(Unsupported, match=missing):
        Adapter(MODELS["lenet"], variant, device, 1, dtype)


def test_a_kind_of_layer_it_does_not_know_is_unsupported_by_name() -> None:
    class Maxout(tuple):
        name, inputs, frozen = "m", (), False

    adapter = Adapter(_model(VECTOR, Maxout()), "float64", "cpu", 1, "float32")
    with pytest.raises(Unsupported, match="no Maxout in the reference"):
        adapter.build({})
