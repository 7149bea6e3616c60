"""torch's FSDP with a faulty exchange between its shards, by GROUP_FAULT."""

import os

import torch
from torch import distributed
from torch.distributed.fsdp._fully_shard._fsdp_collectives import (
    DefaultAllGather,
    DefaultReduceScatter,
)

from velodrome.adapters.frameworks.torch import adapter

FAULT = os.environ["GROUP_FAULT"]


class FaultyReduceScatter(DefaultReduceScatter):
    def __call__(self, output_tensor, input_tensor, group, op, **options):
        if FAULT == "left out":
            input_tensor = input_tensor * (0 if distributed.get_rank() else 2)
        if FAULT == "bfloat16":
            input_tensor = input_tensor.to(torch.bfloat16).to(torch.float32)
        if FAULT == "not divided":
            op = distributed.ReduceOp.SUM
        return super().__call__(output_tensor, input_tensor, group, op, **options)


class StaleAllGather(DefaultAllGather):
    """Gathers the shards of each block once, and gives them again in every later call."""

    def __init__(self):
        super().__init__()
        self._first = None

    def __call__(self, output_tensor, *arguments, **options):
        work = super().__call__(output_tensor, *arguments, **options)
        if self._first is None:
            self._first = output_tensor.clone()
        output_tensor.copy_(self._first)
        return work


class Adapter(adapter.Adapter):
    def build(self, weights):
        super().build(weights)
        for block in self._sharded.blocks:
            if hasattr(block, "set_custom_reduce_scatter"):
                block.set_custom_reduce_scatter(FaultyReduceScatter())
                if FAULT == "stale":
                    block.set_custom_all_gather(StaleAllGather())
