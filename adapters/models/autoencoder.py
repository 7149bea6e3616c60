"""The stacked auto-encoder: three auto-encoders trained one after the other, then a classifier.

A family of four models: `/ae1`, `/ae2`, `/ae3` and `/finetune`. Each auto-encoder works on the
output of the encoders before it, which are frozen; running them is part of the timed call. The
study's "total pre-training" is the sum of the three.
"""

from typing import List, Tuple

from velodrome.adapters.models.layers import (
    Layer,
    Linear,
    Loss,
    Model,
    Sigmoid,
    SoftmaxCrossEntropy,
    SquaredError,
    Vectors,
)

PIXELS = 784
CLASSES = 10


def make_family(*sizes: int) -> Tuple[Model, ...]:
    """Return the four models of one stack. sizes: its hidden layers, from the input on."""
    name = "autoencoder-" + "-".join(str(size) for size in sizes)
    stages = tuple(_stage(name, sizes, number) for number in range(1, len(sizes) + 1))
    return (*stages, _finetune(name, sizes))


def _encoders(sizes: Tuple[int, ...], frozen: int) -> Tuple[Layer, ...]:
    layers: List[Layer] = []
    for number, units in enumerate(sizes, start=1):
        layers.append(Linear("encoder%d" % number, units, frozen=number <= frozen))
        layers.append(Sigmoid("code%d" % number))
    return tuple(layers)


def _stage(name: str, sizes: Tuple[int, ...], number: int) -> Model:
    width = sizes[number - 2] if number > 1 else PIXELS
    target = "code%d" % (number - 1) if number > 1 else "input"
    return _model(
        "%s/ae%d" % (name, number),
        "auto-encoder %d of the stack: %d-%d-%d" % (number, width, sizes[number - 1], width),
        (
            *_encoders(sizes[:number], frozen=number - 1),
            Linear("decoder%d" % number, width),
            Sigmoid("decoded%d" % number),
        ),
        SquaredError(target),
        classes=0,
    )


def _finetune(name: str, sizes: Tuple[int, ...]) -> Model:
    return _model(
        "%s/finetune" % name,
        "the stack with a classifier: %s" % "-".join(str(n) for n in (PIXELS, *sizes, CLASSES)),
        (*_encoders(sizes, frozen=0), Linear("classifier", CLASSES)),
        SoftmaxCrossEntropy(),
        classes=CLASSES,
    )


def _model(name: str, about: str, layers: Tuple[Layer, ...], loss: Loss, classes: int) -> Model:
    return Model(
        name=name,
        about=about,
        input=Vectors(PIXELS, "uniform"),
        layers=layers,
        loss=loss,
        classes=classes,
        batch_size=64,
        gpu_batch_size=64,
    )


SMALL = make_family(400, 200, 100)
LARGE = make_family(800, 1000, 2000)
