"""AlexNet for 227 x 227 images, and `alexnet-plain` without its LRN and groups.

`alexnet` has the original's LRN and groups; `alexnet-plain` has neither, as in the study's sweep
over batch sizes.
"""

from typing import Tuple

from velodrome.adapters.models.layers import (
    Conv,
    Dropout,
    Images,
    Layer,
    Linear,
    Lrn,
    MaxPool,
    Model,
    Relu,
    SoftmaxCrossEntropy,
)


def _lrn(number: int) -> Tuple[Layer, ...]:
    return (Lrn("lrn{}".format(number), size=5, alpha=1e-4, beta=0.75, k=1.0),)


def _features(groups: int, lrn1: Tuple[Layer, ...], lrn2: Tuple[Layer, ...]) -> Tuple[Layer, ...]:
    return (
        Conv("conv1", maps=96, kernel=11, stride=4),
        Relu("relu1"),
        *lrn1,
        MaxPool("pool1", size=3, stride=2),
        Conv("conv2", maps=256, kernel=5, padding=2, groups=groups),
        Relu("relu2"),
        *lrn2,
        MaxPool("pool2", size=3, stride=2),
        Conv("conv3", maps=384, kernel=3, padding=1),
        Relu("relu3"),
        Conv("conv4", maps=384, kernel=3, padding=1, groups=groups),
        Relu("relu4"),
        Conv("conv5", maps=256, kernel=3, padding=1, groups=groups),
        Relu("relu5"),
        MaxPool("pool5", size=3, stride=2),
    )


_CLASSIFIER = (
    Linear("fc6", units=4096),
    Relu("relu6"),
    Dropout("drop6", rate=0.5),
    Linear("fc7", units=4096),
    Relu("relu7"),
    Dropout("drop7", rate=0.5),
    Linear("fc8", units=1000),
)


def _alexnet(name: str, about: str, features: Tuple[Layer, ...]) -> Model:
    return Model(
        name=name,
        about=about,
        input=Images(3, 227, 227),
        layers=features + _CLASSIFIER,
        loss=SoftmaxCrossEntropy(),
        classes=1000,
        batch_size=16,
        gpu_batch_size=256,
    )


ALEXNET = _alexnet(
    "alexnet",
    "five convolutions, two in groups, LRN, three linear layers",
    _features(2, _lrn(1), _lrn(2)),
)
ALEXNET_PLAIN = _alexnet(
    "alexnet-plain",
    "AlexNet without LRN and without groups",
    _features(1, (), ()),
)
