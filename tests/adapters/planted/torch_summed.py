"""PyTorch with the sum over the batch where its mean belongs."""

from torch import nn

from velodrome.adapters.models import layers as kinds
from velodrome.adapters.torch import adapter
from velodrome.adapters.torch.modules import LOSSES


class Adapter(adapter.Adapter):
    losses = {  # noqa: RUF012
        **LOSSES,
        kinds.SoftmaxCrossEntropy: lambda loss: nn.CrossEntropyLoss(reduction="sum"),
    }
