"""PyTorch with the mean of each window where the largest value belongs."""

from torch import nn

from velodrome.adapters.frameworks.torch import adapter
from velodrome.adapters.frameworks.torch.modules import MODULES
from velodrome.adapters.models import layers as kinds


def average(layer, source):
    return nn.AvgPool2d(layer.size, layer.stride)


class Adapter(adapter.Adapter):
    modules = {**MODULES, kinds.MaxPool: average}  # noqa: RUF012
