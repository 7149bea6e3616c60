"""LeNet and an auto-encoder's fine-tuning by hand in PyTensor: one graph, two compiled functions.

Inputs lie in shared variables and results are borrowed, as advised for Theano, its forerunner, and
memory between operations is kept. The BLAS is the one in SciPy's wheel.

python pytensor_loop.py lenet --batch-size 64 --threads 1 [--seconds 4] [--samples 10]
"""

import glob
import os

import scipy.linalg  # loads the BLAS
from drawing import bias, digits, pixels, weight
from loop import Calls, main

FOLDER = os.path.join(os.path.dirname(os.path.dirname(scipy.__file__)), "scipy.libs")
(BLAS,) = (os.path.basename(path)[3:-3] for path in glob.glob(FOLDER + "/libopenblas*.so"))
FLAGS = "floatX=float32,openmp=True,allow_gc=False,blas__ldflags=-L{} -l{}".format(FOLDER, BLAS)
os.environ["PYTENSOR_FLAGS"] = ",".join(filter(None, [os.environ.get("PYTENSOR_FLAGS"), FLAGS]))

import pytensor  # noqa: E402 - its flags are read now
import pytensor.tensor as T  # noqa: E402
from pytensor.tensor import nnet  # noqa: E402
from pytensor.tensor.signal.pool import pool_2d  # noqa: E402


class Network(object):
    """Layers add their parameters to `parameters`."""

    def __init__(self):
        self.parameters = []

    def shared(self, *arrays):
        found = [pytensor.shared(own, borrow=True) for own in arrays]
        self.parameters += found
        return found

    def convolution(self, x, input_shape, maps, size):
        shape = (maps, input_shape[1], size, size)
        w, b = self.shared(weight(*shape, fan_in=input_shape[1] * size * size), bias(maps))
        x = nnet.conv2d(x, w, input_shape=input_shape, filter_shape=shape, filter_flip=False)
        return x + b.dimshuffle("x", 0, "x", "x")

    def linear(self, x, before, units):
        w, b = self.shared(weight(before, units), bias(units))
        return T.dot(x, w) + b


def halved(x):
    return pool_2d(x, ws=(2, 2), ignore_border=True)


def lenet(network, x, size):
    x = T.tanh(halved(network.convolution(x, (size, 1, 28, 28), 20, 5)))
    x = T.tanh(halved(network.convolution(x, (size, 20, 12, 12), 50, 5)))
    return network.linear(nnet.relu(network.linear(x.flatten(2), 800, 500)), 500, 10)


def autoencoder(network, x, size):
    for before, units in ((784, 400), (400, 200), (200, 100)):
        x = T.sigmoid(network.linear(x, before, units))
    return network.linear(x, 100, 10)


MODELS = {"lenet": (lenet, digits), "autoencoder-400-200-100/finetune": (autoencoder, pixels)}


def make(model, batch_size, threads):
    """threads: the libraries have read their variables by now."""
    layers, drawn = MODELS[model]
    inputs, labels = (pytensor.shared(own, borrow=True) for own in drawn(batch_size))
    network = Network()
    of_class = nnet.softmax(layers(network, inputs, batch_size), axis=-1)
    loss = nnet.categorical_crossentropy(of_class, labels).mean()
    gradients = T.grad(loss, network.parameters)
    forward = pytensor.function([], pytensor.Out(loss, borrow=True))
    gradient = pytensor.function([], [pytensor.Out(own, borrow=True) for own in [loss] + gradients])
    return Calls(lambda index: forward(), lambda index: gradient(), lambda: None)


if __name__ == "__main__":
    main(make, MODELS)
