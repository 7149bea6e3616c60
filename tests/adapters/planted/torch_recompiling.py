"""PyTorch that recompiles for each sequence length until torch's limit ends it."""

import torch

from velodrome.adapters.frameworks.torch import adapter


class Adapter(adapter.Adapter):
    def build(self, weights):
        super().build(weights)
        torch._dynamo.config.recompile_limit = 2
        self._call = self._network.compile_steps(dynamic=False)
