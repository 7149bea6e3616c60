"""Data parallelism in torch: DistributedDataParallel over NCCL on GPUs, over gloo on CPUs.

One process a device, the buckets' all-reduce overlapping with the backward pass, gradients views of
the buckets: as in the documentation of torch.nn.parallel.DistributedDataParallel. Statistics of
batch normalization are each process's own, its default.
"""

import datetime
import os

import torch
from torch import distributed, nn

from velodrome.adapters.contract import Unsupported
from velodrome.adapters.frameworks.torch.precision import accumulate
from velodrome.adapters.groups.sockets import choose_nccl_interface, find_interface, parse_address

# Longer than any call: a process that fails is noticed by the group's watch, long before.
TIMEOUT = datetime.timedelta(hours=1)
MEETING = datetime.timedelta(minutes=2)  # for all processes to find each other


# The store that rank 0 keeps open for the others, by its address.
_opened = {}


def open_store(host):
    """Open a store on a free port of this node; return its address. Unsupported without gloo."""
    require_distributed()
    store = distributed.TCPStore(host, 0, is_master=True, wait_for_workers=False, timeout=MEETING)
    address = "tcp://{}:{}".format(host, store.port)
    _opened[address] = store
    return address


def require_distributed():
    if not distributed.is_available():
        raise Unsupported("this build of torch, {}, has no distributed".format(torch.__version__))


def join_group(group, device):
    """Meet the other processes; return this process's device. Unsupported without gloo or NCCL."""
    require_distributed()
    backend = "gloo"
    if device.type == "cuda":
        backend, device = "nccl", torch.device("cuda", group.node_rank)
        torch.cuda.set_device(device)
    _choose_interface(group)
    if group.meeting.startswith("tcp:"):
        store = _opened.get(group.meeting) or _find_store(group.meeting)
        meeting = {"store": store}
    else:
        meeting = {"init_method": group.meeting}
    distributed.init_process_group(
        backend, rank=group.rank, world_size=group.size, timeout=TIMEOUT, **meeting
    )
    torch.manual_seed(torch.initial_seed() + group.rank)  # else all drop the same places
    return device


def _find_store(address):
    host, port = parse_address(address[len("tcp://") :])
    return distributed.TCPStore(host, port, is_master=False, timeout=MEETING)


def _choose_interface(group):
    """Let gloo and NCCL use the interface by which the nodes of the group reach each other."""
    if not group.host:  # all on this node; NCCL finds its own way there
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        return
    interface = find_interface(group.host)
    if interface:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", interface)
    choose_nccl_interface(group.host)


class LossModule(nn.Module):
    """A function that gives the loss of a batch, with the modules whose parameters it reads."""

    def __init__(self, modules, call):
        super(LossModule, self).__init__()
        self.members = nn.ModuleList(modules)
        self._call = call

    def forward(self, *batch):
        return self._call(*batch)


def wrap_loss(modules, call, device):
    """Return `call` with gradients that are averaged over all processes, by backward() alone.

    There are no buffers to broadcast: batch normalization keeps no running averages.
    """
    return nn.parallel.DistributedDataParallel(
        LossModule(modules, call),
        device_ids=[device] if device.type == "cuda" else None,
        gradient_as_bucket_view=True,
    )


def differentiate(loss, trained, dtype):
    """Return the averaged gradients of the trained parameters; the next call overwrites them."""
    for parameter in trained:
        parameter.grad = None
    accumulate(loss, trained, dtype)
    return tuple(parameter.grad for parameter in trained)


def describe(size):
    """Yield a note of how the group computes."""
    yield "DistributedDataParallel over {} on {} processes".format(distributed.get_backend(), size)
