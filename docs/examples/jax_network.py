"""A network of two layers in JAX: parameters by name, and the loss."""

import jax
import jax.numpy as jnp
import numpy

FRAMEWORK = "jax"
NAME = "jax-network"
BATCH_SIZE = 8
INPUTS, HIDDEN, CLASSES = 64, 32, 10
FORWARD_FLOPS = 2 * HIDDEN * (INPUTS + CLASSES)
GRADIENT_FLOPS = 3 * FORWARD_FLOPS - 2 * HIDDEN * INPUTS


def make():
    draw = numpy.random.standard_normal
    return {
        "first": draw((INPUTS, HIDDEN)) / 8,
        "bias": numpy.zeros(HIDDEN),
        "second": draw((HIDDEN, CLASSES)) / 6,
    }


def batch(size, draw):
    return {"x": draw.standard_normal((size, INPUTS)), "label": draw.randint(0, CLASSES, size)}


def inference(parameters, batch):
    hidden = jnp.tanh(batch["x"] @ parameters["first"] + parameters["bias"])
    return hidden @ parameters["second"]


def forward(parameters, batch):
    scores = jax.nn.log_softmax(inference(parameters, batch))
    return -jnp.take_along_axis(scores, batch["label"][:, None], axis=1).mean()
