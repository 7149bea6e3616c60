"""What a framework's adapter must be able to do; the worker calls it in the order of this class.

A framework's folder holds `adapter.py` with a class `Adapter(contract.Adapter)`. It imports its
framework at the top: the worker times that import, with thread variables and visible devices set by
the agent before. An adapter maps kinds of layers (velodrome.adapters.models.layers), not models.
"""

from typing import Any, Callable, Dict, Iterator, NamedTuple, Optional, Tuple

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


def kept_share(inputs: numpy.ndarray, output: numpy.ndarray) -> float:
    """What Adapter.kept_shares tells of one dropout layer, of what it read and what it gave."""
    return float((output[inputs != 0] != 0).mean())


class HostStopwatch(object):
    """Wall time between two moments at which the device had finished everything, in ns."""

    def __init__(self, synchronize: Callable[[], None]) -> None:
        self._synchronize = synchronize
        self._started_ns = 0

    def start(self) -> int:
        """CLOCK_MONOTONIC ns at which the sample begins."""
        self._synchronize()
        self._started_ns = monotonic_ns()
        return self._started_ns

    def stop(self) -> int:
        """Length of the sample in ns."""
        self._synchronize()
        return monotonic_ns() - self._started_ns


class Adapter(object):
    """One framework's way to run one model.

    The worker calls __init__, build, load, then forward and gradient with the number of a batch.
    A call may return before the device is done; what it returns is only looked into by loss,
    gradients and output, never while timing. Every call does the same work: nothing is cached
    between calls, no gradient is added to an earlier one, no parameter is updated.

    waits_by_design: why the processor rests while a call on the CPU runs, if it does; then the
    processor time that the kernel counts proves nothing.
    """

    waits_by_design = ""

    def __init__(self, model: Model, variant: str, device: str, threads: int, dtype: str) -> None:
        """Set threads and device. Unsupported if the variant, device or dtype is not to be had."""
        raise NotImplementedError

    @staticmethod
    def version() -> str:
        """The framework's own version."""
        raise NotImplementedError

    def device_name(self) -> str:
        """What computes, as the framework names it; empty for the CPU."""
        return ""

    def build(self, weights: Dict[str, numpy.ndarray]) -> None:
        """Make the network with these float32 weights, canonical layout, keyed `layer.role`.

        Unsupported if the framework cannot express one of the model's layers.
        """
        raise NotImplementedError

    def load(self, batches: Tuple[Batch, ...]) -> None:
        """Bring all batches onto the device, in the place of those before.

        Timed apart, before any call. Called again after all timing, with as many batches of the
        same shapes in the same order and other values: what was timed then runs on those, with
        nothing built or compiled anew.
        """
        raise NotImplementedError

    def set_parameter(self, name: str, values: numpy.ndarray) -> None:
        """Give the trained parameter `layer.role` other float32 values, canonical layout, in place.

        What was timed computes with them from its next call on, with nothing built or compiled
        anew. Called once, after all timing. Unsupported where the framework does not allow that.
        """
        raise Unsupported("this adapter changes no parameter in place")

    def set_dropout(self, active: bool) -> None:  # noqa: FBT001 - the word is in the name
        """Dropout at its rate, or off. Called before the first call, and once between."""
        raise NotImplementedError

    def forward(self, index: int) -> Handle:
        """Batch `index` through the network, loss included."""
        raise NotImplementedError

    def gradient(self, index: int) -> Handle:
        """Forward and backward: the loss, and every trained parameter's gradient on the device."""
        raise NotImplementedError

    def synchronize(self) -> None:
        """Return when the device has finished all queued work. Timing is wrong without it."""
        raise NotImplementedError

    def stopwatch(self) -> Any:
        """start and stop as in HostStopwatch; a framework with device events returns its own."""
        return HostStopwatch(self.synchronize)

    def loss(self, handle: Handle) -> float:
        """The loss of a forward or gradient call."""
        raise NotImplementedError

    def gradients(self, handle: Handle) -> Iterator[Tuple[str, numpy.ndarray]]:
        """Per trained parameter its key and gradient, in the canonical layout, on the host."""
        raise NotImplementedError

    def output(self, handle: Handle) -> numpy.ndarray:
        """What a forward call of a model without a loss returned, on the host."""
        raise NotImplementedError

    def kept_shares(self) -> Dict[str, float]:
        """Per dropout layer, the share of its non-zero inputs that are not zero behind it.

        Runs the network once. It is asked for while dropout is active, and leaves that as it was.
        """
        raise NotImplementedError

    def peak_memory_bytes(self) -> int:
        """The most memory the framework held on a GPU, by its own count; 0 where it has none."""
        return 0

    def kernels(self) -> Tuple[str, ...]:
        """Libraries built into the framework, which velodrome.adapters.worker.kernels cannot ask.

        As that has it: name, version, instruction set, `via` the framework. Asked for after the
        import and once more after timing. Optional: only what the framework tells of itself.
        """
        return ()

    def notes(self) -> Tuple[str, ...]:
        """What a reader of the row should know: layouts, fallbacks, operations written by hand.

        The last as velodrome.adapters.composed_ops has it: a report counts them.
        """
        return ()
