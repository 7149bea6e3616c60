"""Collective operations in torch: each through torch.distributed, into memory that is reused.

Every process gives one row (1, values) and gets one.
"""

import torch
from torch import distributed, nn

from velodrome.adapters.contract import Unsupported
from velodrome.adapters.frameworks.torch.variants import CUDNN_CHOICES
from velodrome.adapters.models.collectives import count_share

WAITS = "a collective operation waits for the other processes"

# Renamed in torch 2.13, where the earlier names warn.
_GATHER, _SCATTER = (
    new if hasattr(distributed, new) else old
    for new, old in (
        ("all_gather_single", "all_gather_into_tensor"),
        ("reduce_scatter_single", "reduce_scatter_tensor"),
    )
)


class CollectiveModule(nn.Module):
    """One operation among all processes of the group."""

    def __init__(self, operation):
        super(CollectiveModule, self).__init__()
        self._operation, self._call = operation, CALLS[operation]
        self._result = None

    def forward(self, x):
        if self._result is None:
            self._reserve(x)
        return self._call(x, self._result, self._sent)

    def _reserve(self, x):
        """Make the memory of the result, and find how many values are given."""
        size, values = distributed.get_world_size(), x.shape[1]
        share = count_share(values, size)
        self._sent = share if self._operation == "allgather" else size * share
        received = {"allgather": size * share, "reducescatter": share, "alltoall": size * share}
        length = received.get(self._operation, values)
        self._result = torch.empty((1, length), dtype=x.dtype, device=x.device)


def _allreduce(x, result, sent):
    result.copy_(x)  # torch adds in place, and the batch must stay as it is
    distributed.all_reduce(result)
    return result


def _allgather(x, result, sent):
    getattr(distributed, _GATHER)(result[0], x[0, :sent])
    return result


def _reducescatter(x, result, sent):
    getattr(distributed, _SCATTER)(result[0], x[0, :sent])
    return result


def _alltoall(x, result, sent):
    distributed.all_to_all_single(result[0], x[0, :sent])
    return result


def _broadcast(x, result, sent):
    own = result if distributed.get_rank() else x
    distributed.broadcast(own, 0)
    return own


CALLS = {
    "allreduce": _allreduce,
    "allgather": _allgather,
    "reducescatter": _reducescatter,
    "alltoall": _alltoall,
    "broadcast": _broadcast,
}


_NOTHING_TO = {"compile": "compile", "fsdp": "shard"}
_NOTHING_TO.update(dict.fromkeys(CUDNN_CHOICES, "choose"))


def require_plain(variant, dtype):
    """Raise Unsupported unless a collective is eager and in float32."""
    if variant in _NOTHING_TO:
        text = "a collective operation has nothing to {}"
        raise Unsupported(text.format(_NOTHING_TO[variant]))
    if dtype != "float32":
        raise Unsupported("collective operations are in float32, not in {}".format(dtype))


def try_once(operation, call, batch):
    """Call an operation. Unsupported if the backend of the group has none."""
    try:
        call(*batch)
    except (AttributeError, RuntimeError) as error:  # older builds lack a name, or a backend
        if "support" not in str(error) and not isinstance(error, AttributeError):
            raise
        text = "torch {} has no {} over {}: {}"
        raise Unsupported(
            text.format(
                torch.__version__,
                operation,
                distributed.get_backend(),
                str(error).splitlines()[0],
            )
        ) from error


def describe(operation, size):
    """Yield notes of how the operation runs."""
    text = "{} of torch.distributed over {} on {} processes"
    yield text.format(operation, distributed.get_backend(), size)
    if operation == "allreduce":
        yield "torch adds in place: each call first copies the device's own values"
