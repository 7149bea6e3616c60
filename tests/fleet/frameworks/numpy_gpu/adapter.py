"""The NumPy adapter as a GPU framework: it notes its GPUs and computes on none."""

import os

from velodrome.adapters import contract
from velodrome.adapters.frameworks.numpy.adapter import Adapter as OnTheCpu


class Adapter(OnTheCpu):
    def __init__(self, model, variant, device, threads, dtype):
        super().__init__(model, variant, "cpu", threads, dtype)
        named = os.environ.get("ROCR_VISIBLE_DEVICES")  # of AMD's GPUs
        self._given = named or os.environ.get("CUDA_VISIBLE_DEVICES", "")
        if device != "gpu" or not self._given:
            raise contract.Unsupported("numpy_gpu computes for GPUs only, and was given none")

    def notes(self):
        return ("given {}".format(self._given),)
