"""Types of products: each casts what it reads to one type, and its result has that type too.

A float32 bias makes it float32 again. In the backward pass the casts turn gradients back to
float32; a loop casts its weights in each step, so that their gradients are added up in float32.
"""

import jax
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
    """Return the matrix product of (..., n) and (n, m) in a type, added up in float32."""
    if dtype == jnp.float32:
        return x @ weight
    return _multiply(x.astype(dtype), weight.astype(dtype))


@jax.custom_vjp
def _multiply(x, weight):
    """Multiply in the type of both, and add up in float32.

    XLA on a CPU adds up in bfloat16 unless it is told not to: over the 394 steps of a batch of
    vit-b16 that moved gradients by 11 %, where rounded operands and results move them by 0.6 %.
    """
    return jnp.matmul(x, weight, preferred_element_type=jnp.float32).astype(x.dtype)


def _multiply_forward(x, weight):
    return _multiply(x, weight), (x, weight)


def _multiply_backward(saved, gradient):
    """Multiply in the same type: the rule of JAX itself would take a gradient in float32."""
    x, weight = saved
    axes = tuple(range(x.ndim - 1))
    of_weight = jnp.tensordot(x, gradient, (axes, axes), preferred_element_type=jnp.float32)
    return _multiply(gradient, weight.T), of_weight.astype(weight.dtype)


_multiply.defvjp(_multiply_forward, _multiply_backward)
