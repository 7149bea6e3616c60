"""LeNet and an auto-encoder's fine-tuning by hand in MXNet: gluon blocks, hybridized.

The engine is the one that runs in place: on few cores a queue with a thread of its own is slower.

python mxnet_loop.py lenet --batch-size 64 --threads 1 [--seconds 4] [--samples 10]
"""

import os

import mxnet as mx
from drawing import digits, pixels
from loop import Calls, main
from mxnet import autograd, gluon
from mxnet.gluon import nn


def lenet():
    net = nn.HybridSequential()
    net.add(
        nn.Conv2D(20, 5),
        nn.MaxPool2D(2, 2),
        nn.Activation("tanh"),
        nn.Conv2D(50, 5),
        nn.MaxPool2D(2, 2),
        nn.Activation("tanh"),
        nn.Dense(500, activation="relu"),
        nn.Dense(10),
    )
    return net


def autoencoder():
    net = nn.HybridSequential()
    for units in (400, 200, 100):
        net.add(nn.Dense(units, activation="sigmoid"))
    net.add(nn.Dense(10))
    return net


class Trained(gluon.HybridBlock):
    """A network and its loss in one graph."""

    def __init__(self, net):
        super(Trained, self).__init__()
        self.net = net
        self.loss = gluon.loss.SoftmaxCrossEntropyLoss()

    def hybrid_forward(self, F, inputs, labels):
        return self.loss(self.net(inputs), labels).mean()


MODELS = {"lenet": (lenet, digits), "autoencoder-400-200-100/finetune": (autoencoder, pixels)}


def make(model, batch_size, threads):
    """threads: MXNet has read OMP_NUM_THREADS by now."""
    os.environ["MXNET_ENGINE_TYPE"] = "NaiveEngine"  # read at the first operation
    net, drawn = MODELS[model]
    inputs, labels = (mx.nd.array(own) for own in drawn(batch_size))
    trained = Trained(net())
    trained.initialize(mx.init.Xavier())
    trained.hybridize(static_alloc=True, static_shape=True)

    def forward(index):
        return trained(inputs, labels)

    def gradient(index):
        with autograd.record():
            loss = trained(inputs, labels)
        loss.backward()
        return loss

    return Calls(forward, gradient, mx.nd.waitall)


if __name__ == "__main__":
    main(make, MODELS)
