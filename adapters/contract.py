"""What a framework's adapter must be able to do; the worker calls it in the order of this class.

A framework's folder holds `adapter.py` with a class `Adapter(contract.Adapter)`. It imports its
framework at the top: the worker times that import, with thread variables and visible devices already
set by the agent. An adapter maps kinds of layers (velodrome.adapters.models.layers), not models.
"""

from typing import Any, Dict, Iterator, NamedTuple, Optional, Tuple

import numpy

from velodrome.adapters.models.layers import Model
from velodrome.adapters.protocol import monotonic_ns

Handle = Any  # what a call returned, still on the device; only the adapter looks inside


class Unsupported(Exception):
    """The framework cannot express something; the text names the missing operation."""


class Batch(NamedTuple):
    """What one call works on, in canonical layout, on the host.

    inputs: images (batch, channels, height, width) float32, vectors (batch, n) float32, or tokens
    (batch, time) int32, padded on the right with 0 to the batch's longest. labels: (batch,) int32.
    lengths: (batch,) int32, the true length of each sequence.
    """

    inputs: numpy.ndarray
    labels: Optional[numpy.ndarray] = None
    lengths: Optional[numpy.ndarray] = None


class HostStopwatch(object):
    """Wall time between two moments at which the device had finished everything, in ns."""

    def __init__(self, synchronize):
        self._synchronize = synchronize
        self._started_ns = 0

    def start(self):
        # type: () -> int
        """CLOCK_MONOTONIC ns at which the sample begins."""
        self._synchronize()
        self._started_ns = monotonic_ns()
        return self._started_ns

    def stop(self):
        # type: () -> int
        """Length of the sample in ns."""
        self._synchronize()
        return monotonic_ns() - self._started_ns


class Adapter(object):
    """One framework's way to run one model.

    The worker calls __init__, build, load, then forward and gradient with the number of a batch.
    A call may return before the device is done; what it returns is only looked into by loss,
    gradients and output, never while timing. Every call does the same work: nothing is cached
    between calls, no gradient is added to an earlier one, no parameter is updated.
    """

    def __init__(self, model, variant, device, threads, dtype):
        # type: (Model, str, str, int, str) -> None
        """Set threads and device. Unsupported if the variant, device or dtype is not to be had."""
        raise NotImplementedError

    @staticmethod
    def version():
        # type: () -> str
        """The framework's own version."""
        raise NotImplementedError

    def device_name(self):
        # type: () -> str
        """What computes, as the framework names it; empty for the CPU."""
        return ""

    def build(self, weights):
        # type: (Dict[str, numpy.ndarray]) -> None
        """Make the network with these float32 weights, canonical layout, keyed `layer.role`.

        Unsupported if the framework cannot express one of the model's layers.
        """
        raise NotImplementedError

    def load(self, batches):
        # type: (Tuple[Batch, ...]) -> None
        """Bring all batches onto the device. Timed apart, before any call."""
        raise NotImplementedError

    def set_dropout(self, active):
        # type: (bool) -> None
        """Dropout at its rate, or off. Called before the first call, and once between."""
        raise NotImplementedError

    def forward(self, index):
        # type: (int) -> Handle
        """Batch `index` through the network, loss included."""
        raise NotImplementedError

    def gradient(self, index):
        # type: (int) -> Handle
        """Forward and backward: the loss, and every trained parameter's gradient on the device."""
        raise NotImplementedError

    def synchronize(self):
        # type: () -> None
        """Return when the device has finished all queued work. Timing is wrong without it."""
        raise NotImplementedError

    def stopwatch(self):
        # type: () -> Any
        """start and stop as in HostStopwatch; a framework with device events returns its own."""
        return HostStopwatch(self.synchronize)

    def loss(self, handle):
        # type: (Handle) -> float
        """The loss of a forward or gradient call."""
        raise NotImplementedError

    def gradients(self, handle):
        # type: (Handle) -> Iterator[Tuple[str, numpy.ndarray]]
        """Per trained parameter its key and gradient, in the canonical layout, on the host."""
        raise NotImplementedError

    def output(self, handle):
        # type: (Handle) -> numpy.ndarray
        """What a forward call of a model without a loss returned, on the host."""
        raise NotImplementedError

    def kept_shares(self):
        # type: () -> Dict[str, float]
        """Run the network once with dropout active: per dropout layer, the share of its non-zero

        inputs that are not zero behind it.
        """
        raise NotImplementedError

    def peak_memory_bytes(self):
        # type: () -> int
        """The most memory the framework held on a GPU, by its own count; 0 where it does not count."""
        return 0

    def notes(self):
        # type: () -> Tuple[str, ...]
        """What a reader of the row should know: operations written by hand, layouts, fallbacks."""
        return ()
