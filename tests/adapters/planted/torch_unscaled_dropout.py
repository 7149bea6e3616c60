"""PyTorch with dropout that does not scale what it keeps."""

from torch import nn

from velodrome.adapters.frameworks.torch import adapter
from velodrome.adapters.frameworks.torch.modules import MODULES
from velodrome.adapters.models import layers as kinds


class Unscaled(nn.Dropout):
    def forward(self, x):
        return super().forward(x) * (1 - self.p if self.training else 1)


class Adapter(adapter.Adapter):
    modules = {**MODULES, kinds.Dropout: lambda layer, source: Unscaled(layer.rate)}  # noqa: RUF012
