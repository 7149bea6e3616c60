"""PyTorch with one dropout mask for all examples of a batch."""

import torch
from torch import nn
from torch.nn import functional

from velodrome.adapters.frameworks.torch import adapter
from velodrome.adapters.frameworks.torch.modules import MODULES
from velodrome.adapters.models import layers as kinds


class OneMask(nn.Dropout):
    def forward(self, x):
        return x * functional.dropout(torch.ones_like(x[:1]), self.p, self.training)


class Adapter(adapter.Adapter):
    modules = {**MODULES, kinds.Dropout: lambda layer, source: OneMask(layer.rate)}  # noqa: RUF012
