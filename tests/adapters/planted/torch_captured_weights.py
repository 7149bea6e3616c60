"""PyTorch that computes with the parameters as they were when it was built, like a frozen graph."""

import torch

from velodrome.adapters.frameworks.torch import adapter


class Adapter(adapter.Adapter):
    def build(self, weights):
        super().build(weights)
        self._outside = [value.detach().clone() for value in self._trained]

    def set_parameter(self, name, values):
        with torch.no_grad():
            self._outside[self._names.index(name)].copy_(self._tensor(values))
