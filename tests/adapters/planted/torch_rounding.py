"""PyTorch whose forward and backward products read operands with fewer mantissa bits."""

import torch
from torch import nn
from torch.nn import functional

from velodrome.adapters.frameworks.torch import adapter
from velodrome.adapters.frameworks.torch.modules import MODULES
from velodrome.adapters.models import layers as kinds
from velodrome.adapters.models import shapes


def rounded_to(bits):
    """An adapter. bits: of mantissa that stay, of 23."""

    class Rounded(torch.autograd.Function):
        @staticmethod
        def forward(context, x):
            return _round(x, bits)

        @staticmethod
        def backward(context, gradient):
            return gradient

    class Incoming(torch.autograd.Function):
        """Round the gradient that a product returns, an operand of further products."""

        @staticmethod
        def forward(context, x):
            return x.view_as(x)

        @staticmethod
        def backward(context, gradient):
            return _round(gradient, bits)

    class Linear(nn.Linear):
        def forward(self, x):
            x, weight = Rounded.apply(x.flatten(1)), Rounded.apply(self.weight)
            return Incoming.apply(functional.linear(x, weight, self.bias))

    class Conv(nn.Conv2d):
        def forward(self, x):
            x, weight = Rounded.apply(x), Rounded.apply(self.weight)
            return Incoming.apply(self._conv_forward(x, weight, self.bias))

    def linear(layer, source):
        return Linear(shapes.count_values(source), layer.units, bias=layer.bias)

    def conv(layer, source):
        return Conv(source[0], layer.maps, layer.kernel, layer.stride, layer.padding)

    class Adapter(adapter.Adapter):
        modules = {**MODULES, kinds.Linear: linear, kinds.Conv: conv}  # noqa: RUF012

    return Adapter


def _round(x, bits):
    """Round to the nearest in the bits of float32: add half of the last kept bit, then truncate."""
    cut = 23 - bits
    whole = x.contiguous().view(torch.int32) + (1 << (cut - 1))
    return ((whole >> cut) << cut).view(torch.float32)
