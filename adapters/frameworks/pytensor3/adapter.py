"""Adapter for PyTensor 3: compiled by Numba, its own default, or to C as in Theano.

It has neither a convolution of several channels nor pooling any more: `operations` has them.
"""

import itertools
import os

from velodrome.adapters.frameworks.theano_family import flags

# SciPy's wheel of these days puts `scipy_` before the names of OpenBLAS's functions.
PRODUCTS = ["{}{}_".format(kind, name) for kind in "sd" for name in ("dot", "gemm", "gemv", "ger")]
RENAMED = " ".join("-D{0}=scipy_{0}".format(name) for name in PRODUCTS)

flags.set_up("PYTENSOR_FLAGS", "__")
os.environ["PYTENSOR_FLAGS"] += ",gcc__cxxflags={}".format(RENAMED)
os.environ.setdefault("NUMBA_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", "1"))

import pytensor  # noqa: E402
from pytensor import tensor  # noqa: E402

from velodrome.adapters.frameworks.pytensor3 import operations  # noqa: E402
from velodrome.adapters.frameworks.theano_family import layers  # noqa: E402
from velodrome.adapters.frameworks.theano_family.adapter import FamilyAdapter  # noqa: E402
from velodrome.adapters.frameworks.theano_family.library import TheanoLibrary  # noqa: E402
from velodrome.adapters.models import layers as kinds  # noqa: E402

SEEDS = itertools.count()


def _uniform(shape):
    """Draw from a separate generator, whose state persists from call to call."""
    generator = tensor.random.shared_rng(seed=next(SEEDS))
    generator.default_update, drawn = generator.uniform(size=shape)
    return drawn


def _transposed_conv(call, layer, weights, x):
    """Build a transposed convolution as the gradient of a convolution."""
    height, width = (
        (length - 1) * layer.stride + layer.kernel - 2 * layer.padding
        for length in (x.shape[2], x.shape[3])
    )
    zeros = tensor.zeros((x.shape[0], layer.maps, height, width))
    shape = weights["weight"].get_value(borrow=True).shape
    padding, stride = (layer.padding, layer.padding), (layer.stride, layer.stride)
    convolved = operations.conv2d(
        zeros, weights["weight"], shape, padding, stride, filter_flip=False
    )
    y = pytensor.pullback(convolved, zeros, x)
    return y + weights["bias"].dimshuffle("x", 0, "x", "x")


def _custom(call, layer, weights, x):
    """Define kinds.Custom with OpFromGraph, which takes a custom gradient."""
    given = x.type()

    def backward(inputs, outputs, gradients):
        size = abs(inputs[0])
        return [gradients[0] * 2 * size / (1 + size)]

    return pytensor.OpFromGraph([given], [given * abs(given)], inline=True, pullback=backward)(x)


LAYERS = {**layers.LAYERS, kinds.TransposedConv: _transposed_conv, kinds.Custom: _custom}

WINDOWS = "as a product of the kernels and all windows, which are cut out by slices"
COMPOSED = {
    **layers.COMPOSED,
    kinds.Conv: WINDOWS,
    kinds.DilatedConv: WINDOWS,
    kinds.TransposedConv: "as the explicit gradient of a convolution",
    kinds.MaxPool: "of maxima of shifted slices",
    kinds.AvgPool: "of sums of shifted slices",
    kinds.BatchNorm: "of means",
}


class Adapter(FamilyAdapter):
    name = "pytensor3"
    variants = ("numba", "c")
    composed = COMPOSED
    library = TheanoLibrary(
        pytensor,
        tensor,
        operations,
        tensor.sigmoid,
        operations.pool_2d,
        operations.batch_normalization,
        operations.batch_normalization_test,
        _uniform,
        tensor.matmul,
    )

    def __init__(self, model, variant, device, threads, dtype):
        super().__init__(model, variant, device, threads, dtype)
        if variant == "c":
            flags.require_compiler("PyTensor's C linker", pytensor.config.cxx)

    @staticmethod
    def version():
        return pytensor.__version__

    def layers(self):
        return LAYERS

    def mode(self):
        """Numba is what PyTensor takes by itself; `CVM` is what it took before."""
        return "NUMBA" if self._variant == "numba" else "CVM"
