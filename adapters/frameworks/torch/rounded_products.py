"""Products of torch whose operands and results are rounded, to predict errors of a precision.

The mode sees every operation below the gradient's tape, backward ones included. All else stays in
float64, as in velodrome.adapters.proof.prediction.
"""

import contextlib
import math

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from velodrome.adapters.own_code.adapter import RoundingFindings
from velodrome.adapters.proof.tie_distance import PER_ROOT_PRODUCT

BITS = {"tf32": 11, "bfloat16": 8, "float16": 11}  # significant ones, the leading 1 included
PRODUCTS = ("mm", "bmm", "addmm", "baddbmm", "mv", "addmv", "dot", "linear")
CONVOLUTIONS = ("convolution", "convolution_backward")
# The gradient of one value may jump where rounding changes which side it is on.
JUMPS = (
    "relu",
    "relu_",
    "threshold_backward",
    "hardtanh",
    "leaky_relu",
    "max_pool2d_with_indices",
    "max",
    "amax",
    "topk",
    "sort",
    "abs",
)


class RoundedProducts(TorchDispatchMode, RoundingFindings):
    """Rounds the operands and results of products to a precision while it is entered.

    float32: adds the rounding of the sums, 0.3 sqrt(n) 2^-24 of a result's root mean square for n
    products in a sum, drawn with a seed.
    """

    def __init__(self, dtype):
        TorchDispatchMode.__init__(self)
        RoundingFindings.__init__(self)
        self._dtype = dtype
        self._draw = torch.Generator().manual_seed(0)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        kwargs = kwargs or {}
        self.may_jump = self.may_jump or name in JUMPS
        if name not in PRODUCTS and name not in CONVOLUTIONS:
            return func(*args, **kwargs)
        if self._dtype == "float32":
            terms = _count_terms(name, args)
            return tree_map(lambda value: self._add_noise(value, terms), func(*args, **kwargs))
        rounded = func(*tree_map(self._round, args), **kwargs)
        return tree_map(self._round, rounded)

    def _round(self, value):
        if not isinstance(value, torch.Tensor) or not value.is_floating_point():
            return value
        return _round_to_bits(value, BITS[self._dtype])

    def _add_noise(self, value, terms):
        if not isinstance(value, torch.Tensor) or not value.is_floating_point():
            return value
        size = PER_ROOT_PRODUCT * math.sqrt(terms) * value.square().mean().sqrt()
        return value + size * torch.randn(value.shape, generator=self._draw, dtype=value.dtype)


@contextlib.contextmanager
def composed_attention():
    """Compute attention by single products within the context, which can be rounded."""
    try:
        from torch.nn.attention import SDPBackend, sdpa_kernel
    except ImportError:  # before torch 2.3 its products stay exact: too small a prediction
        yield
        return
    with sdpa_kernel(SDPBackend.MATH):
        yield


def _count_terms(name, args):
    """Return the number of products in one sum of the result, the largest of several results."""
    if name == "convolution":
        return max(1, args[1][0].numel())
    if name == "convolution_backward":
        gradient, _, weight = args[:3]
        sums = gradient.numel() // max(1, gradient.shape[1])
        return max(1, sums, weight.numel() // max(1, weight.shape[1]))
    left = args[1] if name in ("addmm", "baddbmm", "addmv") else args[0]
    return max(1, left.shape[-1])


def _round_to_bits(value, bits):
    """Round to nearest, ties to even, at any exponent: a loss in float16 is scaled to fit."""
    mantissa, exponent = torch.frexp(value)
    return torch.ldexp(torch.round(mantissa * 2.0**bits) / 2.0**bits, exponent)
