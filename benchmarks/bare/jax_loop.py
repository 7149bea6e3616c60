"""Models by hand in JAX: pure functions, compiled. The large ones are in jax_large.

python jax_loop.py lenet --batch-size 64 --threads 1 [--seconds 4] [--samples 10]
"""

import jax
import jax.numpy as jnp
import jax_large
from drawing import bias, digits, pixels, sentences, weight
from jax import lax
from jax_large import channels_last, cross_entropy, linear
from loop import Calls, main

STEPS = 8  # a sequence is padded to a multiple: XLA compiles anew for each length


def convolution(layer, x):
    return layer["b"] + lax.conv_general_dilated(
        x, layer["w"], (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def halved(x):
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


def layer(*shape):
    return {"w": weight(*shape), "b": bias(shape[-1])}


def lenet(parameters, images, labels):
    conv1, conv2, fc1, fc2 = parameters
    x = jnp.tanh(halved(convolution(conv1, images)))
    x = jnp.tanh(halved(convolution(conv2, x)))
    x = jax.nn.relu(linear(fc1, x.reshape(x.shape[0], -1)))
    return cross_entropy(linear(fc2, x), labels)


def lenet_parameters():
    return [layer(5, 5, 1, 20), layer(5, 5, 20, 50), layer(800, 500), layer(500, 10)]


def autoencoder(parameters, x, labels):
    *encoders, classifier = parameters
    for encoder in encoders:
        x = jax.nn.sigmoid(linear(encoder, x))
    return cross_entropy(linear(classifier, x), labels)


def autoencoder_parameters():
    return [layer(784, 400), layer(400, 200), layer(200, 100), layer(100, 10)]


def sentiment(parameters, tokens, lengths, labels):
    """tokens (time, batch). The gates are i, f, g, o."""
    u = parameters["u"]

    def step(state, fed):
        c, h = state
        i, f, g, o = jnp.split(fed + h @ u, 4, axis=1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (c, h), h

    fed = linear(parameters["lstm"], parameters["embedding"][tokens])
    zero = jnp.zeros((tokens.shape[1], u.shape[0]))
    _, h = lax.scan(step, (zero, zero), fed)
    within = jnp.arange(tokens.shape[0])[:, None] < lengths
    mean = jnp.where(within[:, :, None], h, 0).sum(0) / lengths[:, None]
    return cross_entropy(linear(parameters["classifier"], mean), labels)


def sentiment_parameters():
    return {
        "embedding": weight(10000, 128),
        "lstm": layer(128, 512),
        "u": weight(128, 512),
        "classifier": layer(128, 2),
    }


def padded(tokens, lengths, labels):
    behind = -len(tokens) % STEPS
    return jnp.pad(tokens, ((0, behind), (0, 0))), lengths, labels


MODELS = {
    "lenet": (lenet, lenet_parameters, lambda size: [channels_last(*digits(size))]),
    "autoencoder-400-200-100/finetune": (
        autoencoder,
        autoencoder_parameters,
        lambda size: [pixels(size)],
    ),
    "lstm": (
        sentiment,
        sentiment_parameters,
        lambda size: [padded(*own) for own in sentences(size)],
    ),
    **jax_large.MODELS,
}


def make(model, batch_size, threads):
    """threads: XLA has read NPROC by now."""
    loss, initial, drawn = MODELS[model]
    parameters, batches = jax.device_put((initial(), drawn(batch_size)))
    compiled = {"forward": jax.jit(loss), "gradient": jax.jit(jax.value_and_grad(loss))}
    queued = []  # what was called last: the device does one thing after the other

    def call(name):
        function = compiled[name]

        def run(index):
            queued.clear()  # its memory is the next one's
            queued.append(function(parameters, *batches[index]))

        return run

    return Calls(
        call("forward"), call("gradient"), lambda: jax.block_until_ready(queued), len(batches)
    )


if __name__ == "__main__":
    main(make, MODELS)
