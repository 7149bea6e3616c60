"""Types of products: each casts what it reads to one type, and its result has that type too.

A float32 bias makes it float32 again. In the backward pass the casts turn gradients back to
float32; a loop casts its weights in each step, so that their gradients are added up in float32.
"""

import jax.numpy as jnp

from velodrome.adapters.contract import LOSS_SCALE, Unsupported
from velodrome.adapters.models import layers as kinds

# By dtype: the type of products, and JAX's precision for those of float32.
TYPES = {
    "float32": jnp.float32,
    "tf32": jnp.float32,
    "bfloat16": jnp.bfloat16,
    "float16": jnp.float16,
}
MATMUL_PRECISIONS = {
    "float32": "highest",
    "tf32": "tensorfloat32",
    "bfloat16": "default",
    "float16": "default",
}
LOSS_SCALES = {"float16": LOSS_SCALE}


def require_products(model: kinds.Model, platform: str, dtype: str) -> None:
    """Raise Unsupported if JAX lacks a product of this type."""
    attends = any(isinstance(layer, kinds.Attention) for layer in model.layers)
    if attends and platform == "cpu" and dtype == "float16":
        raise Unsupported("jax.nn.dot_product_attention has no float16 on a CPU")


def multiply(x, weight, dtype):
    """Return the matrix product in a type."""
    return x.astype(dtype) @ weight.astype(dtype)
