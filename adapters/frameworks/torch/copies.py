"""Copies between memories in torch: Tensor.copy_ into memory that is reused.

Of page-locked memory of the host with non_blocking, so that copies are queued on the device's
stream; torch waits for each copy of pageable memory. A copy from one GPU to another runs on the
stream of the first. As in torch's tutorial on pin_memory and non_blocking.
"""

import torch

from velodrome.adapters.contract import Unsupported
from velodrome.adapters.models.copies import find_transfer, name_kind


class TorchCopier(object):
    """The copy of a process's row, (1, values), as a function of the loaded batch."""

    def __init__(self, model, device, group):
        """model: a copy between memories. device: of this process.

        Unsupported for a group on several nodes.
        """
        if group.size > group.on_node:
            raise Unsupported("a copy between memories stays on one node")
        self._transfer = find_transfer(model)
        self._device, self._group = device, group
        self._result = None

    def place(self, inputs):
        """Copy an array of the host to the memory that is copied from."""
        if self._transfer.direction != "h2d":
            return torch.tensor(inputs, device=self._device)
        found = torch.tensor(inputs)
        return found.pin_memory() if self._transfer.is_pinned else found

    def __call__(self, inputs, labels, lengths):
        if self._result is None:
            self._result = self._reserve(inputs)
        return self._result.copy_(inputs, non_blocking=self._transfer.is_pinned)

    def describe(self):
        """Yield notes of how it runs."""
        yield "{} of torch's copy_, into memory that every call reuses".format(
            name_kind(self._transfer)
        )
        if self._transfer.direction == "d2d":
            yield (
                "within the memory of one device"
                if self._group.size == 1
                else (
                    "from the device of each process to that of the next, by the first one's stream"
                )
            )

    def _reserve(self, inputs):
        if self._transfer.direction == "d2h":
            return torch.empty(
                inputs.shape, dtype=inputs.dtype, pin_memory=self._transfer.is_pinned
            )
        target = self._device
        if self._transfer.direction == "d2d" and target.type == "cuda":
            target = torch.device("cuda", self._find_next())
        return torch.empty(inputs.shape, dtype=inputs.dtype, device=target)

    def _find_next(self):
        """Return the number of the device of the next process; its own if there is one process."""
        return (self._group.node_rank + 1) % self._group.on_node


def require_plain(variant, dtype):
    """Raise Unsupported unless a copy is eager and in float32."""
    if variant != "eager":
        raise Unsupported("a copy between memories is the same call in every variant: use eager")
    if dtype != "float32":
        raise Unsupported("copies between memories are in float32, not in {}".format(dtype))
