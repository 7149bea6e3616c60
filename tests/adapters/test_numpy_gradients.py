"""The reference itself: its gradients against differences."""

import zlib

import numpy
import pytest
from small_models import (
    IMAGE,
    PER_STEP,
    PLANE,
    STATES,
    TOKENS,
    VECTOR,
    WORDS,
    ZERO,
    inputs_of,
    model_of,
    wide,
)

from velodrome.adapters.contract import Batch
from velodrome.adapters.frameworks.numpy.network import OPERATIONS, Network
from velodrome.adapters.models import MODELS, list_families, shapes
from velodrome.adapters.models.layers import (
    Add,
    Attention,
    AvgPool,
    BatchNorm,
    ClassToken,
    Conv,
    DilatedConv,
    Dropout,
    Duplicate,
    Embedding,
    FirstStep,
    Gelu,
    Gru,
    LayerNorm,
    LearnedPositions,
    Linear,
    Loop,
    Lrn,
    Lstm,
    MaxPool,
    MeanOverImage,
    MeanOverTime,
    Model,
    Multiply,
    Patches,
    Relu,
    RmsNorm,
    Sigmoid,
    Silu,
    SquaredError,
    StepLinear,
    Tanh,
    TiedLinear,
    TransposedConv,
)
from velodrome.adapters.models.probes import PROBES
from velodrome.adapters.proof import clear_draws, seeding

STEP = 1e-5

SMALL = {
    "conv": model_of(IMAGE, Conv("c", 3, 3), Linear("f", 3)),
    "conv with stride and padding": model_of(
        IMAGE, Conv("c", 3, 3, stride=2, padding=1), loss=ZERO
    ),
    "conv whose stride leaves a rest": model_of(IMAGE, Conv("c", 3, 2, stride=3), loss=ZERO),
    "conv in groups": model_of(
        IMAGE, Conv("a", 6, 2, groups=2), Conv("b", 4, 3, 1, 1, 2), loss=ZERO
    ),
    "depthwise conv": model_of(IMAGE, Conv("c", 8, 3, groups=4), Linear("f", 3)),
    "max-pool": model_of(PLANE, Conv("c", 2, 2), MaxPool("p", 2, 2), Linear("f", 3)),
    "max-pool that overlaps": model_of(PLANE, Conv("c", 2, 1), MaxPool("p", 3, 2), Linear("f", 3)),
    "LRN": model_of(IMAGE, Conv("c", 7, 3), Lrn("n", 5, alpha=2.0), Linear("f", 3)),
    "LRN of two channels": model_of(IMAGE, Conv("c", 5, 3), Lrn("n", 2, 1.0, 0.6, 2.0), loss=ZERO),
    "tanh": model_of(VECTOR, Linear("a", 5), Tanh("t"), Linear("b", 3)),
    "sigmoid": model_of(VECTOR, Linear("a", 5), Sigmoid("s"), Linear("b", 3)),
    "ReLU": model_of(VECTOR, Linear("a", 9), Relu("r"), Linear("b", 3)),
    "linear without bias": model_of(VECTOR, Linear("a", 3, bias=False), loss=ZERO),
    "dropout that is off": model_of(VECTOR, Linear("a", 5), Dropout("d", 0.5), Linear("b", 3)),
    "duplicate": model_of(VECTOR, Linear("a", 5), Duplicate("d"), Linear("b", 3)),
    "embedding": model_of(WORDS, Embedding("e", 7, 3), MeanOverTime("m"), Linear("f", 3)),
    "LSTM of unequal lengths": model_of(
        WORDS, Embedding("e", 7, 3), Lstm("l", 4), MeanOverTime("m"), Linear("f", 3)
    ),
    "two LSTMs": model_of(
        WORDS, Embedding("e", 7, 3), Lstm("a", 4), Lstm("b", 2), MeanOverTime("m"), Linear("f", 3)
    ),
    "dilated conv": model_of(
        IMAGE, DilatedConv("a", 3, 3, 2, 1), DilatedConv("b", 2, 2, 3), loss=ZERO
    ),
    "transposed conv": model_of(IMAGE, Conv("a", 3, 2), TransposedConv("b", 2, 3, 2, 1), loss=ZERO),
    "transposed conv without padding": model_of(
        PLANE, TransposedConv("a", 3, 2, 3), TransposedConv("b", 2, 3), loss=ZERO
    ),
    "average pool that overlaps": model_of(
        PLANE, Conv("c", 2, 2), AvgPool("p", 3, 2), Linear("f", 3)
    ),
    "batch norm": model_of(IMAGE, Conv("c", 3, 3), Tanh("t"), BatchNorm("n"), Linear("f", 3)),
    "sum of two": model_of(
        VECTOR, Linear("a", 3), Tanh("t"), Linear("b", 3), Add("s", ("t", "b")), Linear("c", 3)
    ),
    "sum of the same": model_of(VECTOR, Linear("a", 3), Add("s", ("a", "a")), Linear("c", 3)),
    "loop": model_of(VECTOR, Linear("a", 4), Loop("l", 6), Linear("b", 3)),
    "loop over the input": model_of(VECTOR, Loop("l", 1), Linear("b", 3)),
    "two GRUs": model_of(
        WORDS, Embedding("e", 7, 3), Gru("a", 4), Gru("b", 2), MeanOverTime("m"), Linear("f", 3)
    ),
    "attention": model_of(
        WORDS,
        Embedding("e", 7, 6),
        Attention("a", 2),
        Attention("b", 3),
        MeanOverTime("m"),
        Linear("f", 3),
    ),
    "conv without bias": model_of(IMAGE, Conv("c", 3, 3, bias=False), Linear("f", 3)),
    "max-pool with padding": model_of(
        PLANE, Conv("c", 2, 2), MaxPool("p", 3, 2, padding=1), Linear("f", 3)
    ),
    "mean over an image": model_of(
        IMAGE, Conv("c", 5, 3), Tanh("t"), MeanOverImage("m"), Linear("f", 3)
    ),
    "GELU": model_of(VECTOR, Linear("a", 5), Gelu("g"), Linear("b", 3)),
    "SiLU": model_of(VECTOR, Linear("a", 5), Silu("s"), Linear("b", 3)),
    "product of two": model_of(
        VECTOR, Linear("a", 3), Tanh("t"), Linear("b", 3), Multiply("p", ("t", "b")), Linear("c", 3)
    ),
    "linear per step": model_of(
        STATES, StepLinear("a", 4), StepLinear("b", 3, bias=False), loss=PER_STEP
    ),
    "linear with the embedding's weight": model_of(
        TOKENS, Embedding("e", 7, 6), StepLinear("a", 6), TiedLinear("t", "e"), loss=PER_STEP
    ),
    "layer norm": model_of(STATES, StepLinear("a", 6), LayerNorm("n"), loss=PER_STEP),
    "RMS norm": model_of(STATES, StepLinear("a", 6), RmsNorm("n"), loss=PER_STEP),
    "learned positions": model_of(
        TOKENS, Embedding("e", 7, 6), LearnedPositions("p", 9), LayerNorm("n"), loss=PER_STEP
    ),
    "patches and a class token": model_of(
        IMAGE,
        Conv("c", 6, 3, 3),
        Patches("p"),
        ClassToken("k"),
        Attention("a", 2),
        FirstStep("s"),
        Linear("f", 3),
    ),
    "first of padded steps": model_of(
        WORDS, Embedding("e", 7, 6), Attention("a", 2), FirstStep("s"), Linear("f", 3)
    ),
    "causal attention with biases": model_of(
        STATES, Attention("a", 2, causal=True, bias=True), StepLinear("f", 3), loss=PER_STEP
    ),
    "padded causal attention": model_of(
        WORDS,
        Embedding("e", 7, 6),
        Attention("a", 2, causal=True),
        MeanOverTime("m"),
        Linear("f", 3),
    ),
    "attention of grouped keys, with rotary positions": model_of(
        STATES,
        StepLinear("i", 8),
        Attention("a", 4, causal=True, key_value_heads=2, rotary=100.0),
        StepLinear("f", 3),
        loss=PER_STEP,
    ),
    "squared error to the input": model_of(
        VECTOR, Linear("a", 4), Sigmoid("s"), Linear("b", 6), loss=SquaredError("input")
    ),
    "frozen below": model_of(
        VECTOR, Linear("a", 4, frozen=True), Sigmoid("s"), Linear("b", 4), loss=SquaredError("s")
    ),
    "frozen between": model_of(VECTOR, Linear("a", 4), Linear("b", 4, frozen=True), Linear("c", 3)),
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
    found = network.gradient(batch, _make_generator(dropout)).gradients
    assert set(found) == {entry.name for entry in shapes.list_trained(model)}
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
    """Return the loss's numeric derivative by the first value of weight, which is shared."""
    before = weight[0]
    losses = []
    for moved in (before + step, before - step):
        weight[0] = moved
        losses.append(network.forward(batch, _make_generator(dropout)).loss)
    weight[0] = before
    return (losses[0] - losses[1]) / (2 * step)


def _make_generator(seed: int | None) -> numpy.random.RandomState | None:
    return None if seed is None else numpy.random.RandomState(seed)


@pytest.mark.parametrize("name", SMALL)
def test_gradients_agree_with_central_differences(name: str) -> None:
    model = SMALL[name]
    weights = wide(seeding.draw_weights(model, 1))
    assert _difference_error(model, inputs_of(model, 4), weights, 40) < 1e-6


def test_gradients_pass_dropout_where_the_values_passed() -> None:
    model = SMALL["dropout that is off"]
    weights = wide(seeding.draw_weights(model, 1))
    assert _difference_error(model, inputs_of(model, 4), weights, 40, dropout=3) < 1e-6


TINY = [name for name in MODELS if name.endswith("-tiny")]


@pytest.mark.parametrize(
    "name", ["lenet", "lstm", *TINY, *list_families()["autoencoder-400-200-100"]]
)
def test_gradients_of_whole_models_agree_with_central_differences(name: str) -> None:
    model = MODELS[name]
    weights = wide(seeding.draw_weights(model, 0))
    assert _difference_error(model, inputs_of(model, 3), weights, 4) < 1e-6


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.model.name)
def test_every_gradient_of_a_probe_agrees_with_central_differences(probe: object) -> None:
    model = probe.model
    weights = wide(seeding.draw_weights(model, 0))
    found = Network(model, weights, OPERATIONS).gradient(inputs_of(model, 8)).gradients
    assert min(abs(gradient).max() for gradient in found.values()) > 1e-4
    if probe.kind != "Custom":
        assert _difference_error(model, inputs_of(model, 8), weights, 4) < 1e-6


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.parametrize("name", ["alexnet", "alexnet-plain"])
def test_gradients_of_alexnet_agree_with_central_differences(name: str) -> None:
    # A step of 1e-5 takes some of half a million values past a jump. One of 1e-7 takes none in an
    # example that is clear of them, and leaves the difference of two losses near 7 six digits.
    model = MODELS[name]
    weights = wide(seeding.draw_weights(model, 0))
    draws, _ = clear_draws.find_clear_draws(Network(model, weights, OPERATIONS), 1, 0)
    inputs = seeding.draw_batches(model, 1, 0, draws)[0]
    batch = inputs._replace(inputs=inputs.inputs.astype(numpy.float64))
    assert _difference_error(model, batch, weights, 1, step=1e-7) < 3e-5
