"""PyTorch that compiles for each length of a sequence anew, until torch has had enough."""

import torch

from velodrome.adapters.frameworks.torch import adapter


class Adapter(adapter.Adapter):
    def build(self, weights):
        super().build(weights)
        torch._dynamo.config.recompile_limit = 2
        self._call = self._network.compiled(dynamic=False)
