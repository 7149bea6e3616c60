"""torch's collective operations with one fault, by COLLECTIVE_FAULT.

A process left out of a sum, a mean in place of a sum, a sum in bfloat16, a result of the call
before, parts in another order, a broadcast that sends nothing, and a wrong result on the last
process alone.
"""

import os

import torch
from torch import distributed

from velodrome.adapters.frameworks.torch import adapter, collectives

FAULT = os.environ["COLLECTIVE_FAULT"]


def leave_out(call, x, result, sent):
    return call(torch.zeros_like(x) if distributed.get_rank() else x, result, sent)


def average(call, x, result, sent):
    return call(x, result, sent) / distributed.get_world_size()


def round_to_bfloat16(call, x, result, sent):
    return call(x.to(torch.bfloat16).to(torch.float32), result, sent)


def keep(call, x, result, sent):
    before = result.clone()
    call(x, result, sent)
    return before


def reorder(call, x, result, sent):
    parts = call(x, result, sent).chunk(distributed.get_world_size(), 1)
    return torch.cat(parts[::-1], 1)


def send_nothing(call, x, result, sent):
    return x


def spoil_last(call, x, result, sent):
    found = call(x, result, sent)
    if distributed.get_rank() == distributed.get_world_size() - 1:
        found = found.clone()
        found[0, -1] += 1
    return found


FAULTS = {
    "left out": leave_out,
    "average": average,
    "bfloat16": round_to_bfloat16,
    "stale": keep,
    "other order": reorder,
    "nothing sent": send_nothing,
    "last rank": spoil_last,
}


class Adapter(adapter.Adapter):
    def build(self, weights):
        super().build(weights)
        module = self._network.steps[0].module
        call = collectives.CALLS[module._operation]
        module._call = lambda *arguments: FAULTS[FAULT](call, *arguments)
