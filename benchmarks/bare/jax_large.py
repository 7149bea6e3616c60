"""ResNet-50 and GPT-2 by hand in JAX: losses as pure functions, their parameters and inputs."""

import jax
import jax.numpy as jnp
from drawing import bias, photographs, texts, weight
from jax import lax

STAGES = ((64, 3), (128, 4), (256, 6), (512, 3))  # maps inside a block, blocks
BLOCKS, WIDTH, HEADS, WORDS, POSITIONS = 12, 768, 12, 50257, 1024


def cross_entropy(logits, labels):
    """Compute the mean over all labels as Optax does."""
    of_label = jnp.take_along_axis(logits, labels[..., None], axis=-1)[..., 0]
    return (jax.nn.logsumexp(logits, axis=-1) - of_label).mean()


def convolution(w, x, stride):
    edge = w.shape[0] // 2
    return lax.conv_general_dilated(
        x,
        w,
        (stride, stride),
        [(edge, edge)] * 2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def normalized(own, x, stride=1):
    """Convolve, then normalize over the batch."""
    y = jax.nn.standardize(convolution(own["w"], x, stride), axis=(0, 1, 2), epsilon=1e-5)
    return y * own["scale"] + own["b"]


def bottleneck(block, x, stride):
    y = jax.nn.relu(normalized(block["conv1"], x))
    y = jax.nn.relu(normalized(block["conv2"], y, stride))
    y = normalized(block["conv3"], y)
    if "shortcut" in block:
        x = normalized(block["shortcut"], x, stride)
    return jax.nn.relu(y + x)


def resnet50(parameters, images, labels):
    x = jax.nn.relu(normalized(parameters["stem"], images, 2))
    edges = [(0, 0), (1, 1), (1, 1), (0, 0)]
    x = lax.reduce_window(x, -jnp.inf, lax.max, (1, 3, 3, 1), (1, 2, 2, 1), edges)
    for number, blocks in enumerate(parameters["stages"]):
        for place, block in enumerate(blocks):
            x = bottleneck(block, x, 2 if number and not place else 1)
    top = parameters["classifier"]
    return cross_entropy(x.mean(axis=(1, 2)) @ top["w"] + top["b"], labels)


def normalized_parameters(kernel, inputs, maps):
    return {
        "w": weight(kernel, kernel, inputs, maps),
        "scale": 1 + bias(maps),
        "b": bias(maps),
    }


def resnet50_parameters():
    stages, inputs = [], 64
    for maps, count in STAGES:
        blocks = []
        for place in range(count):
            block = {
                "conv1": normalized_parameters(1, inputs, maps),
                "conv2": normalized_parameters(3, maps, maps),
                "conv3": normalized_parameters(1, maps, 4 * maps),
            }
            if not place:
                block["shortcut"] = normalized_parameters(1, inputs, 4 * maps)
            blocks.append(block)
            inputs = 4 * maps
        stages.append(blocks)
    return {
        "stem": normalized_parameters(7, 3, 64),
        "stages": stages,
        "classifier": {"w": weight(inputs, 1000), "b": bias(1000)},
    }


def linear(own, x):
    return x @ own["w"] + own["b"]


def layer_norm(own, x):
    return jax.nn.standardize(x, epsilon=1e-5) * own["scale"] + own["b"]


def attention(own, x):
    split = jnp.split(linear(own["qkv"], x), 3, axis=2)
    query, key, value = (part.reshape(x.shape[:2] + (HEADS, -1)) for part in split)
    mixed = jax.nn.dot_product_attention(query, key, value, is_causal=True)
    return linear(own["out"], mixed.reshape(x.shape))


def gpt2(parameters, tokens, labels):
    table = parameters["embedding"]
    x = table[tokens] + parameters["positions"][: tokens.shape[1]]
    for block in parameters["blocks"]:
        x = x + attention(block, layer_norm(block["norm1"], x))
        inner = jax.nn.gelu(linear(block["in"], layer_norm(block["norm2"], x)))
        x = x + linear(block["behind"], inner)
    return cross_entropy(layer_norm(parameters["norm"], x) @ table.T, labels)


def gpt2_parameters():
    def layer(inputs, units):
        return {"w": weight(inputs, units), "b": bias(units)}

    def norm():
        return {"scale": 1 + bias(WIDTH), "b": bias(WIDTH)}

    blocks = [
        {
            "norm1": norm(),
            "qkv": layer(WIDTH, 3 * WIDTH),
            "out": layer(WIDTH, WIDTH),
            "norm2": norm(),
            "in": layer(WIDTH, 4 * WIDTH),
            "behind": layer(4 * WIDTH, WIDTH),
        }
        for _ in range(BLOCKS)
    ]
    return {
        "embedding": weight(WORDS, WIDTH, fan_in=100),
        "positions": weight(POSITIONS, WIDTH, fan_in=100),
        "blocks": blocks,
        "norm": norm(),
    }


def channels_last(images, labels):
    return images.transpose(0, 2, 3, 1), labels


MODELS = {
    "resnet50": (
        resnet50,
        resnet50_parameters,
        lambda size: [channels_last(*photographs(size))],
    ),
    "gpt2-128": (gpt2, gpt2_parameters, lambda size: [texts(size, 128)]),
}
