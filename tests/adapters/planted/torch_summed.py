"""PyTorch with the sum over the batch where its mean belongs."""

from torch import nn

from velodrome.adapters.frameworks.torch import adapter
from velodrome.adapters.frameworks.torch.modules import LOSSES
from velodrome.adapters.models import layers as kinds


class Adapter(adapter.Adapter):
    losses = {  # noqa: RUF012
        **LOSSES,
        kinds.SoftmaxCrossEntropy: lambda loss: nn.CrossEntropyLoss(reduction="sum"),
    }
