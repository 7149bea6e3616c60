"""LeNet: two convolutions and two linear layers on 28 x 28 digits."""

from velodrome.adapters.models.layers import (
    Conv,
    Images,
    Linear,
    MaxPool,
    Model,
    Relu,
    SoftmaxCrossEntropy,
    Tanh,
)

LENET = Model(
    name="lenet",
    about="two convolutions, two linear layers; 28 x 28 digits",
    input=Images(1, 28, 28),
    layers=(
        Conv("conv1", maps=20, kernel=5),
        MaxPool("pool1", size=2, stride=2),
        Tanh("tanh1"),
        Conv("conv2", maps=50, kernel=5),
        MaxPool("pool2", size=2, stride=2),
        Tanh("tanh2"),
        Linear("fc1", units=500),
        Relu("relu1"),
        Linear("fc2", units=10),
    ),
    loss=SoftmaxCrossEntropy(),
    classes=10,
    batch_size=64,
    gpu_batch_size=64,
)
