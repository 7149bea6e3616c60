"""The type in which each kind of layer computes: float32, or a lower one for products.

Variables are float32. A layer with products casts its parameters and what it reads to the lower
type, as under Keras' mixed policies. Norms, means and smooth functions compute in float32: behind a
rounded norm a ReLU passes other gradients, and the slope of a function depends on small
differences. So does what adds a parameter to every example, for its gradient is a sum: on a CPU
TensorFlow's BiasAddGrad sums bfloat16 in bfloat16, where 1 is lost beside 256. Others compute in
the widest type of what they read. A loss is float32.
"""

import tensorflow as tf

from velodrome.adapters.models import layers as kinds

TYPES = {
    "float32": tf.float32,
    "tf32": tf.float32,
    "bfloat16": tf.bfloat16,
    "float16": tf.float16,
}

PRODUCTS = (
    kinds.Conv,
    kinds.DilatedConv,
    kinds.TransposedConv,
    kinds.Linear,
    kinds.Lstm,
    kinds.Gru,
    kinds.Attention,
    kinds.Loop,
    kinds.StepLinear,
    kinds.TiedLinear,
)
IN_FLOAT32 = (
    kinds.LearnedPositions,
    kinds.ClassToken,
    kinds.BatchNorm,
    kinds.LayerNorm,
    kinds.RmsNorm,
    kinds.Lrn,
    kinds.MeanOverTime,
    kinds.MeanOverImage,
    kinds.Gelu,
    kinds.Silu,
    kinds.Tanh,
    kinds.Sigmoid,
)


def add_bias(product, bias):
    """Add a bias in its own type, that of its gradient."""
    return tf.nn.bias_add(tf.cast(product, bias.dtype), bias)


def multiply(left, weight):
    """Multiply in the weight's type; the product is float32."""
    return tf.cast(tf.matmul(tf.cast(left, weight.dtype), weight), tf.float32)


class Precision(object):
    """Casts the parameters and the inputs of a layer."""

    def __init__(self, dtype):
        self._type = TYPES[dtype]
        self.is_mixed = self._type != tf.float32

    def cast_parameters(self, layer, weights):
        """Return them by role; variables as they are where they stay float32, as biases do."""
        if not self.is_mixed or not isinstance(layer, PRODUCTS):
            return weights
        return {
            role: variable if role.startswith("bias") else tf.cast(variable, self._type)
            for role, variable in weights.items()
        }

    def cast_inputs(self, layer, values):
        if not self.is_mixed or not all(value.dtype.is_floating for value in values):
            return values
        wanted = self._find_type(layer, values)
        return [tf.cast(value, wanted) for value in values]

    def _find_type(self, layer, values):
        if isinstance(layer, PRODUCTS):
            return self._type
        is_wide = isinstance(layer, IN_FLOAT32) or any(own.dtype == tf.float32 for own in values)
        return tf.float32 if is_wide else self._type
