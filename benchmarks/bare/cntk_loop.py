"""LeNet and an auto-encoder's fine-tuning by hand in CNTK: its layers, evaluated by eval and grad.

python cntk_loop.py lenet --batch-size 64 --threads 1 [--seconds 4] [--samples 10]
"""

import cntk
import numpy as np
from cntk import cntk_py
from cntk.layers import Convolution2D, Dense, MaxPooling, Sequential
from drawing import digits, pixels
from loop import Calls, main


def lenet():
    """tanh takes the longer the larger its values: so weights are as large as everywhere else."""
    return Sequential(
        [
            Convolution2D((5, 5), 20, init=cntk.normal(25**-0.5)),
            MaxPooling((2, 2), strides=2),
            cntk.tanh,
            Convolution2D((5, 5), 50, init=cntk.normal(500**-0.5)),
            MaxPooling((2, 2), strides=2),
            cntk.tanh,
            Dense(500, activation=cntk.relu),
            Dense(10),
        ]
    )


def autoencoder():
    hidden = [Dense(units, activation=cntk.sigmoid) for units in (400, 200, 100)]
    return Sequential(hidden + [Dense(10)])


MODELS = {"lenet": (lenet, digits), "autoencoder-400-200-100/finetune": (autoencoder, pixels)}


def make(model, batch_size, threads):
    cntk.device.try_set_default_device(cntk.device.cpu())
    cntk_py.set_max_num_cputhreads(threads)
    network, drawn = MODELS[model]
    inputs, labels = drawn(batch_size)
    x, y = cntk.input_variable(inputs.shape[1:]), cntk.input_variable(10)
    of_each = cntk.cross_entropy_with_softmax(network()(x), y)
    loss = cntk.reduce_mean(of_each, axis=cntk.Axis.all_axes())
    one_hot = np.eye(10, dtype=np.float32)[labels]
    batch = {x: cntk.Value(inputs), y: cntk.Value(one_hot)}  # converted once, not in each call
    parameters = list(loss.parameters)

    def forward(index):
        return loss.eval(batch, as_numpy=False)

    def gradient(index):
        return loss.grad(batch, wrt=parameters, outputs=[loss.output], as_numpy=False)

    return Calls(forward, gradient, lambda: None)


if __name__ == "__main__":
    main(make, MODELS)
