"""Probes: models with one operation each, which show if a framework supports it.

What stands before the operation has parameters, so that their gradients prove its backward pass
too. There is no ReLU and no max-pooling: rounding makes no gradient jump.
"""

from typing import Dict, NamedTuple, Tuple

from velodrome.adapters.models.layers import (
    Add,
    Attention,
    AvgPool,
    BatchNorm,
    ClassToken,
    Conv,
    Custom,
    DilatedConv,
    Dropout,
    Embedding,
    FirstStep,
    Gelu,
    Gru,
    Images,
    Input,
    Layer,
    LayerNorm,
    LearnedPositions,
    Linear,
    Loop,
    Loss,
    Lrn,
    Lstm,
    MeanOverImage,
    MeanOverTime,
    Model,
    Multiply,
    Patches,
    RmsNorm,
    Sequences,
    Sigmoid,
    Silu,
    SoftmaxCrossEntropy,
    SquaredError,
    States,
    StepCrossEntropy,
    StepLinear,
    Tanh,
    TiedLinear,
    Tokens,
    TransposedConv,
    Vectors,
)

CLASSES = 5
WORDS = 50
LENGTHS = (2, 3, 3, 4, 5, 5, 6, 7, 7, 8, 8, 9, 10, 10, 11, 12)  # two batches of eight
IMAGE = Images(3, 9, 9)
SMALL_IMAGE = Images(3, 5, 5)
VECTOR = Vectors(16, "normal")
SENTENCE = Sequences(WORDS, LENGTHS)
STATES = States(6, 8)
TOKENS = Tokens(WORDS, 6)


class Probe(NamedTuple):
    """A probe. kind: the name of its kind of layer, as in adapters' notes."""

    model: Model
    kind: str


def _probe(
    name: str, kind: type, about: str, source: Input, layers: Tuple[Layer, ...], loss: Loss
) -> Probe:
    classes = 0 if isinstance(loss, SquaredError) else CLASSES
    return Probe(Model("probe-" + name, about, source, layers, loss, classes, 8, 8), kind.__name__)


def _image(name: str, about: str, *layers: Layer, source: Images = IMAGE) -> Probe:
    """Make a probe behind a convolution that mixes the channels, and before a classifier."""
    before = Conv("before", maps=8, kernel=1)
    behind = (Tanh("squashed"), Linear("classifier", CLASSES))
    kind = type(layers[-1])
    return _probe(name, kind, about, source, (before, *layers, *behind), SoftmaxCrossEntropy())


def _vector(name: str, about: str, units: int, *layers: Layer) -> Probe:
    before = Linear("before", units)
    behind = Linear("classifier", CLASSES)
    kind = type(layers[-1])
    return _probe(name, kind, about, VECTOR, (before, *layers, behind), SoftmaxCrossEntropy())


def _words(name: str, about: str, *layers: Layer) -> Probe:
    before = Embedding("embedding", WORDS, 8)
    behind = (MeanOverTime("mean"), Linear("classifier", CLASSES))
    kind = type((before, *layers)[-1])
    return _probe(name, kind, about, SENTENCE, (before, *layers, *behind), SoftmaxCrossEntropy())


def _pretraining() -> Probe:
    """Make the second auto-encoder of a stack: the first one's encoder is frozen."""
    layers = (
        Linear("encoder1", 12, frozen=True),
        Sigmoid("code1"),
        Linear("encoder2", 8),
        Sigmoid("code2"),
        Linear("decoder2", 12),
        Sigmoid("decoded2"),
    )
    about = "an auto-encoder behind a frozen encoder"
    return _probe("pretraining", Linear, about, VECTOR, layers, SquaredError("code1"))


def _states(name: str, about: str, layer: Layer) -> Probe:
    before, behind = StepLinear("before", 8), StepLinear("classifier", CLASSES)
    return _probe(name, type(layer), about, STATES, (before, layer, behind), StepCrossEntropy())


def _image_steps() -> Probe:
    """Make an image's patches a sequence behind a learned step, which alone is classified."""
    layers = (
        Conv("patches", 8, 3, 3),
        Patches("sequence"),
        ClassToken("probed"),
        Attention("mixed", heads=2),
        FirstStep("first"),
        Linear("classifier", CLASSES),
    )
    about = "a learned step before an image's patches"
    return _probe("class-token", ClassToken, about, IMAGE, layers, SoftmaxCrossEntropy())


def _tied() -> Probe:
    layers = (
        Embedding("embedding", WORDS, 8),
        StepLinear("mixed", 8),
        TiedLinear("probed", embedding="embedding"),
    )
    about = "a layer that shares the embedding's weight"
    probe = _probe("tied-linear", TiedLinear, about, TOKENS, layers, StepCrossEntropy())
    return probe._replace(model=probe.model._replace(classes=WORDS))


PROBES: Tuple[Probe, ...] = (
    _image("grouped-conv", "convolution in 2 groups", Conv("probed", 6, 3, groups=2)),
    _image("depthwise-conv", "one kernel per channel", Conv("probed", 8, 3, groups=8)),
    _image("strided-conv", "convolution of stride 2", Conv("probed", 6, 3, stride=2, padding=1)),
    _image("dilated-conv", "dilation 2", DilatedConv("probed", 6, 3, dilation=2, padding=2)),
    _image(
        "transposed-conv",
        "transposed convolution of stride 2",
        TransposedConv("probed", 6, 3, stride=2, padding=1),
        source=SMALL_IMAGE,
    ),
    _image("lrn", "normalization over 5 channels", Lrn("probed", size=5, alpha=1.0)),
    _image("average-pool", "the mean of 3 x 3 values, stride 2", AvgPool("probed", 3, 2)),
    # A bias right before it would have no gradient.
    _image("batch-norm", "batch normalization, in training", Tanh("bent"), BatchNorm("probed")),
    _image(
        "residual",
        "a layer added to one before it",
        Conv("branch", 8, 3, padding=1),
        Tanh("bent"),
        Add("probed", inputs=("bent", "before")),
    ),
    _vector("dropout", "dropout of one half", 256, Tanh("bent"), Dropout("probed", 0.5)),
    _vector("custom", "the user's own operation and gradient", 12, Custom("probed")),
    _vector("loop", "five rounds through one layer", 12, Loop("probed", steps=5)),
    _words("embedding", "words to vectors"),
    _words("lstm", "LSTM over sequences of 2 to 12 words", Lstm("probed", 8)),
    _words("gru", "GRU over sequences of 2 to 12 words", Gru("probed", 8)),
    _words("attention", "two heads over 2 to 12 words", Attention("probed", heads=2)),
    _pretraining(),
    _vector("gelu", "GELU in its tanh form", 12, Gelu("probed")),
    _vector("silu", "SiLU", 12, Silu("probed")),
    _vector(
        "gated", "two layers multiplied", 12, Tanh("bent"), Multiply("probed", ("bent", "before"))
    ),
    _image("image-mean", "the mean over each channel", Tanh("bent"), MeanOverImage("probed")),
    _states("step-linear", "a linear layer at every step", StepLinear("probed", 12)),
    _states("layer-norm", "layer normalization", LayerNorm("probed")),
    _states("rms-norm", "normalization by the root mean square", RmsNorm("probed")),
    _states("positions", "learned positions", LearnedPositions("probed", 9)),
    _states(
        "causal-attention",
        "attention to earlier steps, with biases",
        Attention("probed", heads=2, causal=True, bias=True),
    ),
    _states(
        "rotary-attention",
        "rotary positions, two heads that share keys and values",
        Attention("probed", heads=2, causal=True, key_value_heads=1, rotary=100.0),
    ),
    _image_steps(),
    _tied(),
)
PROBED: Dict[str, str] = {probe.model.name: probe.kind for probe in PROBES}
