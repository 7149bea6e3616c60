"""torch's group with a faulty reduction of DistributedDataParallel's buckets, by GROUP_FAULT."""

import os

import torch
from torch import distributed

from velodrome.adapters.frameworks.torch import adapter, parallel

FAULT = os.environ["GROUP_FAULT"]


def reduce_bucket(rank, bucket):
    values = bucket.buffer()
    if FAULT == "left out" and rank:
        values = torch.zeros_like(values)
    if FAULT == "bfloat16":
        values = values.to(torch.bfloat16).to(torch.float32)
    if FAULT != "not divided":
        values = values / (1 if FAULT == "left out" else distributed.get_world_size())
    work = distributed.all_reduce(values, async_op=True)
    return work.get_future().then(lambda future: future.value()[0])


class Adapter(adapter.Adapter):
    def build(self, weights):
        wrap = parallel.wrap_loss

        def wrap_hooked(*arguments):
            module = wrap(*arguments)
            module.register_comm_hook(self._group.rank, reduce_bucket)
            return module

        parallel.wrap_loss = wrap_hooked
        super().build(weights)
        parallel.wrap_loss = wrap
