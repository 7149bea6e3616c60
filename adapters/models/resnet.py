"""ResNet-50 with the stride in the 3 x 3 convolution (v1.5), and a small network of its blocks.

He, Zhang, Ren and Sun, Deep residual learning for image recognition, CVPR 2016.

In bfloat16 each value is off by a few thousandths, and a ReLU whose input is that near to 0 passes
a gradient or not by chance. So the seeded bias of some batch normalizations is well above 0 in half
of the channels and well below 0 in the others, which leaves few inputs near 0, and a residual
branch is small beside its shortcut. The constants are the best of 40 tried on resnet50-tiny.
"""

from typing import List, Tuple

from velodrome.adapters.models.layers import (
    Add,
    BatchNorm,
    Conv,
    Images,
    Layer,
    Linear,
    MaxPool,
    MeanOverImage,
    Model,
    Relu,
    SoftmaxCrossEntropy,
)

EXPANSION = 4  # of a block's output, over the maps inside it
# In standard deviations of the values before it.
STEM_BIAS, SHORTCUT_BIAS, INNER_BIAS = 1.0, 2.0, 2.0
BRANCH_SCALE = 0.05


def make_resnet(
    name: str,
    about: str,
    source: Images,
    stem: int,
    blocks: Tuple[int, ...],
    classes: int,
    batch_sizes: Tuple[int, int],
) -> Model:
    """Return a network of bottleneck blocks. stem: maps of the first convolution.

    blocks: their number in each stage; a stage has twice the maps of the one before, and all but
    the first halve the image. batch_sizes: on a CPU and on a GPU.
    """
    layers: List[Layer] = [
        *_conv("conv1", "", stem, 7, 2),
        BatchNorm("conv1_norm", seeded_bias=STEM_BIAS),
        Relu("conv1_relu"),
        MaxPool("pool1", size=3, stride=2, padding=1),
    ]
    before = "pool1"
    for stage, count in enumerate(blocks):
        for number in range(count):
            block = "stage{}_block{}".format(stage + 1, number + 1)
            stride = 2 if stage and not number else 1
            layers += _make_block(block, before, stem * 2**stage, stride, is_first=number == 0)
            before = block
    layers += [MeanOverImage("mean"), Linear("classifier", classes)]
    loss = SoftmaxCrossEntropy()
    return Model(name, about, source, tuple(layers), loss, classes, *batch_sizes)


def _make_block(name: str, before: str, maps: int, stride: int, *, is_first: bool) -> List[Layer]:
    """Return a bottleneck: convolutions 1 x 1, 3 x 3 and 1 x 1, added to the block's input.

    Where the shape changes, in the first of a stage, a convolution projects the input.
    """
    layers: List[Layer] = []
    shortcut = before
    if is_first:
        shortcut = name + "_shortcut_norm"
        layers += [
            *_conv(name + "_shortcut", before, maps * EXPANSION, 1, stride),
            BatchNorm(shortcut, seeded_bias=SHORTCUT_BIAS),
        ]
    layers += [
        *_conv(name + "_conv1", before, maps, 1, 1),
        BatchNorm(name + "_norm1"),
        Relu(name + "_relu1"),
        *_conv(name + "_conv2", "", maps, 3, stride),
        BatchNorm(name + "_norm2", seeded_bias=INNER_BIAS),
        Relu(name + "_relu2"),
        *_conv(name + "_conv3", "", maps * EXPANSION, 1, 1),
        BatchNorm(name + "_norm3", seeded_scale=BRANCH_SCALE),
        Add(name + "_sum", inputs=(name + "_norm3", shortcut)),
        Relu(name),
    ]
    return layers


def _conv(name: str, before: str, maps: int, kernel: int, stride: int) -> Tuple[Conv, ...]:
    inputs = (before,) if before else ()
    return (Conv(name, maps, kernel, stride, kernel // 2, inputs=inputs, bias=False),)


RESNET50 = make_resnet(
    "resnet50",
    "50 layers in 16 residual blocks, batch normalization; 224 x 224 images",
    Images(3, 224, 224),
    stem=64,
    blocks=(3, 4, 6, 3),
    classes=1000,
    batch_sizes=(4, 256),
)
RESNET_TINY = make_resnet(
    "resnet50-tiny",
    "5 residual blocks of resnet50's kind; 32 x 32 images",
    Images(3, 32, 32),
    stem=8,
    blocks=(2, 2, 1),
    classes=10,
    batch_sizes=(8, 8),
)
