"""LeNet and an auto-encoder's fine-tuning by hand in neon, on its `cpu` backend.

python neon_loop.py lenet --batch-size 64 --threads 1 [--seconds 4] [--samples 10]
"""

import logging

import numpy as np
from drawing import digits, pixels
from loop import Calls, main
from neon import NervanaObject
from neon.backends import gen_backend
from neon.initializers import Constant, GlorotUniform
from neon.layers import Activation, Affine, Conv, GeneralizedCost, Pooling
from neon.models import Model
from neon.transforms import CrossEntropyMulti, Logistic, Rectlin, Softmax, Tanh

INITIAL = {"init": GlorotUniform(), "bias": Constant(0.1)}


def lenet():
    return [
        Conv((5, 5, 20), **INITIAL),
        Pooling(2, strides=2),
        Activation(Tanh()),
        Conv((5, 5, 50), **INITIAL),
        Pooling(2, strides=2),
        Activation(Tanh()),
        Affine(500, activation=Rectlin(), **INITIAL),
        Affine(10, activation=Softmax(), **INITIAL),
    ]


def autoencoder():
    hidden = [Affine(units, activation=Logistic(), **INITIAL) for units in (400, 200, 100)]
    return hidden + [Affine(10, activation=Softmax(), **INITIAL)]


MODELS = {
    "lenet": (lenet, digits),
    "autoencoder-400-200-100/finetune": (autoencoder, pixels),
}


def make(model, batch_size, threads):
    """threads: the BLAS has read its variable by now."""
    logging.getLogger("neon").setLevel(logging.ERROR)
    be = NervanaObject.be or gen_backend("cpu", batch_size=batch_size)
    be.bsz = batch_size
    layers, drawn = MODELS[model]
    images, labels = drawn(batch_size)
    inputs = be.array(np.ascontiguousarray(images.reshape(batch_size, -1).T))  # the batch is last
    targets = be.array(np.ascontiguousarray(np.eye(10, dtype=np.float32)[labels].T))
    network = Model(layers=layers())
    cost = GeneralizedCost(costfunc=CrossEntropyMulti())
    network.initialize(images.shape[1:] if images.ndim == 4 else images.shape[1], cost)

    def forward(index):
        return cost.get_cost(network.fprop(inputs), targets)

    def gradient(index):
        outputs = network.fprop(inputs)
        loss = cost.get_cost(outputs, targets)
        network.bprop(cost.get_errors(outputs, targets))
        return loss

    return Calls(forward, gradient, lambda: None)


if __name__ == "__main__":
    main(make, MODELS)
