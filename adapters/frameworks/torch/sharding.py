"""Fully sharded data parallelism in torch (FSDP2): `fully_shard` of each block, the root last.

As in the documentation of torch.distributed.fsdp.fully_shard: each process keeps a share of every
parameter, gradient and optimizer state; a block's parameters are gathered before it runs, forward
and backward, and its gradients are averaged by a reduce-scatter. Where a block begins follows the
model's names, `block1_linear2` or `stage2_block1_conv3`; without blocks each layer is one. What
stands between, such as an embedding with tied words, belongs to the root.
"""

import itertools
import re
from collections import Counter

import torch
from torch import distributed, nn

from velodrome.adapters.contract import Unsupported
from velodrome.adapters.frameworks.torch.network import LABELS, LENGTHS, make_parts

_BLOCK = re.compile(r"(?:[a-z]+\d+_)*block\d+(?=_|$)")


class ShardedNetwork(nn.Module):
    """A network's blocks and what stands between them, as one module; the loss is the last part."""

    def __init__(self, steps):
        super(ShardedNetwork, self).__init__()
        names, runs = zip(*_divide(steps))
        self.parts = nn.ModuleList(make_parts(runs))
        self.blocks = tuple(part for part, name in zip(self.parts, names) if name)

    def forward(self, last, inputs, labels, lengths):
        """Return what the part `last` makes, -1 the loss and -2 the output, of a batch."""
        values = {"input": inputs, LABELS: labels, LENGTHS: lengths}
        for part in itertools.islice(self.parts, len(self.parts) + last + 1):
            values.update(zip(part.gives, part(*[values[name] for name in part.takes])))
            for name in part.spent:
                values.pop(name)
        return values[self.parts[last].gives[-1]]

    def differentiable(self, *batch):
        """Return the loss of a batch, from which backward() goes."""
        return self(-1, *batch)

    def loss(self, *batch):
        """Return the loss of a batch under no_grad."""
        return self._run_once(-1, batch)

    def output(self, *batch):
        """Return the last layer's output under no_grad."""
        return self._run_once(-2, batch)

    def _run_once(self, last, batch):
        # FSDP keeps the root's parameters for a backward pass, which does not come: the next call
        # would gather nothing and miss a change of them.
        result = self(last, *batch)
        self.reshard()
        return result


def shard(network, trained, device):
    """Shard a network among all processes; return (ShardedNetwork, trained parameters by key).

    trained: the whole parameters by key, on the host; each block's are on the device one after the
    other, so a model may be larger than it.
    """
    if not trained:
        raise Unsupported("fsdp shards trained parameters, and the model has none")
    from torch.distributed.device_mesh import DeviceMesh  # seconds to import, for this variant
    from torch.distributed.fsdp import fully_shard

    root = ShardedNetwork(network.steps)
    places = _locate(root, trained)
    mesh = DeviceMesh.from_group(distributed.group.WORLD, device.type)
    readers = Counter(own for part in root.parts for own in set(part.parameters()))
    for block in root.blocks:
        own = tuple(block.parameters())
        if own and all(readers[each] == 1 for each in own):
            fully_shard(block, mesh=mesh)
    fully_shard(root, mesh=mesh)
    return root, {name: getattr(*place) for name, place in places.items()}


def require_group(group):
    """Raise Unsupported on one device."""
    if group.size == 1:
        text = "fsdp shards parameters among several devices, and one has nothing to shard"
        raise Unsupported(text)


def assign(parameter, values):
    """Give a parameter, or this process's share of it, other values: the whole tensor."""
    if hasattr(parameter, "full_tensor"):
        from torch.distributed.tensor import distribute_tensor

        values = distribute_tensor(
            values, parameter.device_mesh, parameter.placements, src_data_rank=None
        )
    with torch.no_grad():
        parameter.copy_(values)


def gather(tensor):
    """Return a tensor; of a sharded one the whole, which all processes must ask for at once."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def take_own(tensor):
    """Return this process's share of a sharded tensor; others as they are."""
    return tensor.to_local() if hasattr(tensor, "full_tensor") else tensor


def describe(size):
    """Yield a note of how the group computes."""
    text = "FSDP2 over {} on {} processes: each block's parameters gathered forward and backward"
    yield text.format(distributed.get_backend(), size)
    yield "a forward pass alone frees the root's parameters behind it: each call gathers all"


def _divide(steps):
    """Divide the steps into blocks and the runs between them, which have no name."""
    names = {step.name: find_block(step.name) for step in steps[:-1]}
    if not any(names.values()):
        names = {name: name for name in names}
    names[steps[-1].name] = ""
    runs = [list(own) for _, own in itertools.groupby(steps[:-1], lambda step: names[step.name])]
    runs.append([steps[-1]])  # the loss, which inference leaves out
    return [(names[run[0].name], run) for run in runs]


def find_block(name):
    """Return the block that a layer belongs to, by its name; empty if to none."""
    found = _BLOCK.match(name)
    return found.group() if found else ""


def _locate(root, trained):
    """Return (module, attribute) of each trained parameter by key."""
    found = {}
    for module in root.modules():
        for attribute, value in module.named_parameters(recurse=False):
            found.setdefault(id(value), (module, attribute))
    return {name: found[id(value)] for name, value in trained.items()}
