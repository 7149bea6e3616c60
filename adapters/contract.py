"""The methods of a framework's adapter, in the order in which the worker calls them.

A framework's folder holds `adapter.py` with a class `Adapter(contract.Adapter)`. It imports its
framework at the top: the worker times that import, with thread variables and visible devices set by
the agent before. An adapter maps kinds of layers (velodrome.adapters.models.layers), not models.
"""

from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, NamedTuple, Optional, Tuple

import numpy

from velodrome.adapters.models.layers import Model
from velodrome.adapters.protocol import monotonic_ns

if TYPE_CHECKING:
    from velodrome.adapters.datasets.records import DatasetFile

# Batches that a loader keeps ready, for each of its processes or threads.
BATCHES_AHEAD = 2

# In float16 an adapter multiplies the loss by it before the backward pass and divides the gradients
# by it, within the timed call: small gradients would else be rounded to 0.
LOSS_SCALE = 1024.0

Handle = Any  # the result of a call, still on the device; only the adapter reads it


class Unsupported(Exception):
    """The framework or its adapter cannot do something; the text names what is missing."""


class Batch(NamedTuple):
    """The inputs of one call, in canonical layout, on the host.

    inputs: images (batch, channels, height, width) float32, vectors (batch, n) float32, states
    (batch, time, n) float32, or tokens (batch, time) int32, of Sequences padded on the right with 0
    to the batch's longest. labels: (batch,) int32, of StepCrossEntropy (batch, time). lengths:
    (batch,) int32, the true length of each of Sequences, else None.
    """

    inputs: numpy.ndarray
    labels: Optional[numpy.ndarray] = None
    lengths: Optional[numpy.ndarray] = None


class Group(NamedTuple):
    """An adapter's place in a task on several devices.

    rank, size: of its process among those of the task. devices: those that this process drives.
    meeting: where the processes find each other, `file:///path` or what Adapter.meet returned;
    empty if there is one process. on_node: processes on each node, whose ranks follow each other.
    host: the address of this process's node, for those on others; empty if there is one node.
    """

    rank: int = 0
    size: int = 1
    devices: int = 1
    meeting: str = ""
    on_node: int = 1
    host: str = ""

    @property
    def node_rank(self) -> int:
        """Its number among the processes of its node, from 0."""
        return self.rank % self.on_node


# Forms of a task on several devices: one process drives all devices of a node, or each its own.
BY_DEVICES, BY_PROCESSES = "devices", "processes"


def map_arrays(function: Callable[[numpy.ndarray], numpy.ndarray], batch: Batch) -> Batch:
    """Return the batch with `function` applied to each array that it has."""
    inputs, labels, lengths = batch
    return Batch(
        function(inputs),
        None if labels is None else function(labels),
        None if lengths is None else function(lengths),
    )


class MissingMethod(Unsupported):
    """The adapter lacks a method that the model needs; the text names both."""

    def __init__(self, adapter: type, method: str) -> None:
        super().__init__(
            "the adapter {} has no method {}. Add it as velodrome.adapters.contract "
            "describes".format(adapter.__module__, method)
        )


def measure_kept_share(inputs: numpy.ndarray, output: numpy.ndarray) -> float:
    """Return a dropout layer's value for Adapter.kept_shares, from its input and output."""
    return float((output[inputs != 0] != 0).mean())


class HostStopwatch(object):
    """Wall time in ns between two moments at which the device has finished all work."""

    def __init__(self, synchronize: Callable[[], None]) -> None:
        self._synchronize = synchronize
        self._started_ns = 0

    def start(self) -> int:
        """Begin a sample and return its CLOCK_MONOTONIC ns."""
        self._synchronize()
        self._started_ns = monotonic_ns()
        return self._started_ns

    def stop(self) -> int:
        """End the sample and return its length in ns."""
        self._synchronize()
        return monotonic_ns() - self._started_ns


class Adapter(object):
    """One framework's way to run one model.

    The worker calls __init__, build, load, then the timed calls with the number of a batch: forward
    and gradient; after start_inference, inference; after start_training, update and step; after
    start_loading, next_batch and fed_gradient. A call may return before the device finishes; only
    loss, gradients, output, parameters and loaded read its result, never while the clock runs.
    Every call does the same work: it caches nothing, adds no gradient to an earlier one and, but
    for update and step, changes no parameter. A method that is missing here and that the task needs
    ends it as `unsupported`.

    group_form: BY_DEVICES or BY_PROCESSES, if it has the method join. waits_by_design: the reason
    why the processor is idle while a call on the CPU runs, if it is; then the processor time that
    the kernel counts proves nothing. early_epsilon: the framework's AdamW adds epsilon before the
    correction, as velodrome.adapters.optimizers describes. no_loader: why it has no start_loading.
    """

    group_form = ""
    waits_by_design = ""
    early_epsilon = False
    no_loader = "the framework has no loader of its own, or its adapter uses none"

    def __init__(self, model: Model, variant: str, device: str, threads: int, dtype: str) -> None:
        """Set threads and device. Unsupported if the variant, device or dtype is not available.

        dtype: one of velodrome.adapters.tolerances.DTYPES. float32 is float32 everywhere; tf32
        allows it in products; bfloat16 and float16 are mixed precision as the framework's users run
        it: products in that type, parameters and their gradients in float32.
        """
        raise MissingMethod(type(self), "__init__")

    @classmethod
    def version(cls) -> str:
        """Return the framework's own version."""
        raise MissingMethod(cls, "version")

    def device_name(self) -> str:
        """Return the framework's name for the device; empty for the CPU."""
        return ""

    def meet(self, host: str) -> str:
        """Open a meeting place of processes on several nodes; return it: `tcp://host:port`.

        Called in the process of rank 0, before its join. host: the address of its node.
        """
        raise Unsupported(
            "the adapter {} computes on one node: it has no form for several".format(
                type(self).__module__
            )
        )

    def join(self, group: Group) -> None:
        """Become part of a task on several devices; called once, before build.

        BY_DEVICES: this process divides each batch of load among its devices, examples in order,
        equally many each. BY_PROCESSES: load gets this process's examples, forward's loss is
        theirs. In both, gradient and step use the mean of all devices' gradients, each computed
        from its own examples (batch normalization, too), which every device has when a call ends.
        """
        raise Unsupported(
            "the adapter {} computes on one device: it has no form for several".format(
                type(self).__module__
            )
        )

    def build(self, weights: Dict[str, numpy.ndarray]) -> None:
        """Make the network with these float32 weights, canonical layout, keyed `layer.role`.

        Unsupported if the framework cannot express one of the model's layers.
        """
        raise MissingMethod(type(self), "build")

    def load(self, batches: Tuple[Batch, ...]) -> None:
        """Copy all batches to the device and replace the earlier ones.

        Timed separately, before any call. Called again after all timing, with as many batches of
        the same shapes in the same order and other values: the timed calls then run on those, and
        nothing is built or compiled again.
        """
        raise MissingMethod(type(self), "load")

    def set_parameter(self, name: str, values: numpy.ndarray) -> None:
        """Give the trained parameter `layer.role` other float32 values, canonical layout, in place.

        The timed calls use them from the next call on, and nothing is built or compiled again.
        Called after all timing. Unsupported if the framework does not allow it.
        """
        raise Unsupported("this adapter changes no parameter in place")

    def set_dropout(self, active: bool) -> None:  # noqa: FBT001 - the word is in the name
        """Turn dropout on, at its rate, or off. Called before the first call, and once between."""
        raise MissingMethod(type(self), "set_dropout")

    def forward(self, index: int) -> Handle:
        """Run batch `index` through the network, loss included."""
        raise MissingMethod(type(self), "forward")

    def gradient(self, index: int) -> Handle:
        """Run forward and backward: the loss and every trained parameter's gradient, on device."""
        raise MissingMethod(type(self), "gradient")

    def synchronize(self) -> None:
        """Return when the device has finished all queued work. Timing is wrong without it."""
        raise MissingMethod(type(self), "synchronize")

    def stopwatch(self) -> Any:
        """Return a HostStopwatch; a framework with device events returns its own class."""
        return HostStopwatch(self.synchronize)

    def loss(self, handle: Handle) -> float:
        """Return the loss of a forward or gradient call."""
        raise MissingMethod(type(self), "loss")

    def gradients(self, handle: Handle) -> Iterator[Tuple[str, numpy.ndarray]]:
        """Yield each trained parameter's key and gradient, canonical layout, on the host."""
        raise MissingMethod(type(self), "gradients")

    def own_gradients(self, handle: Handle) -> Iterator[Tuple[str, numpy.ndarray]]:
        """Yield what this process has of each gradient: of sharded ones its share, in any shape.

        Asks no other process of the group, unlike `gradients` of sharded ones.
        """
        return self.gradients(handle)

    def output(self, handle: Handle) -> numpy.ndarray:
        """Return the output of an inference call, or of a forward call of a model without a loss.

        On the host, float32, canonical layout: (batch, n), (batch, time, n) or images.
        """
        raise MissingMethod(type(self), "output")

    def start_inference(self, statistics: Dict[str, numpy.ndarray]) -> None:
        """Prepare calls of inference: evaluation mode from here to end_inference.

        statistics: (channels,) float32, the running mean and variance of each batch normalization,
        keyed `layer.mean` and `layer.variance`. A second call, after timing, compiles nothing.
        """
        raise MissingMethod(type(self), "start_inference")

    def inference(self, index: int) -> Handle:
        """Run batch `index` through the network to the last layer's output: no loss, no dropout."""
        raise MissingMethod(type(self), "inference")

    def end_inference(self) -> None:
        """Return to training mode, with dropout as set_dropout has it."""
        raise MissingMethod(type(self), "end_inference")

    def start_training(self, optimizer: str, weights: Dict[str, numpy.ndarray]) -> None:
        """Give every trained parameter its value in `weights`, and the optimizer an empty state.

        optimizer: of velodrome.adapters.optimizers.NAMES, the framework's own, fused where it has
        one, with the hyperparameters there. weights: as for build. Called before update and step,
        and again after them, when the later calls see these weights; then it compiles nothing.
        """
        raise MissingMethod(type(self), "start_training")

    def keep_gradients(self, index: int) -> Handle:
        """Compute the gradients of batch `index`, as gradient does, and keep them for update."""
        raise MissingMethod(type(self), "keep_gradients")

    def update(self) -> Handle:
        """Take one step of the optimizer by the kept gradients, which stay as they are."""
        raise MissingMethod(type(self), "update")

    def step(self, index: int) -> Handle:
        """Compute batch `index`'s gradients and take the optimizer's step, as one call.

        The handle's loss is that before the step.
        """
        raise MissingMethod(type(self), "step")

    def parameters(self) -> Iterator[Tuple[str, numpy.ndarray]]:
        """Yield each trained parameter's key and present values, canonical layout, on the host.

        An array is the caller's: a later call does not change it.
        """
        raise MissingMethod(type(self), "parameters")

    def own_parameters(self) -> Iterator[Tuple[str, numpy.ndarray]]:
        """Yield what this process has of each parameter, as own_gradients."""
        return self.parameters()

    def start_loading(self, dataset: "DatasetFile", workers: int) -> None:
        """Begin to read batches 0, 1, ... of a data set, over and over, as an expert does.

        By the framework's own loader. workers: its processes or threads, which read ahead
        BATCHES_AHEAD batches each; 0: each batch is read when it is asked for, and none before.
        """
        raise Unsupported(
            "no batches are loaded: {} (adapter {})".format(self.no_loader, type(self).__module__)
        )

    def next_batch(self) -> Handle:
        """Return the next batch on the device, decoded, in the layout that gradient reads."""
        raise MissingMethod(type(self), "next_batch")

    def fed_gradient(self) -> Handle:
        """Run gradient on the next batch."""
        raise MissingMethod(type(self), "fed_gradient")

    def loaded(self, handle: Handle) -> Batch:
        """Return the batch of a next_batch call, on the host, in canonical layout and dtypes."""
        raise MissingMethod(type(self), "loaded")

    def end_loading(self) -> None:
        """End the loader with all of its processes."""
        raise MissingMethod(type(self), "end_loading")

    def kept_shares(self) -> Dict[str, float]:
        """Return per dropout layer the share of its non-zero inputs that are non-zero behind it.

        Runs the network once. Called while dropout is active, and leaves it active.
        """
        raise MissingMethod(type(self), "kept_shares")

    def peak_memory_bytes(self) -> int:
        """Return the most GPU memory that the framework held, by its own count; 0 without one."""
        return 0

    def kernels(self) -> Tuple[str, ...]:
        """Return the built-in libraries that velodrome.adapters.worker.kernels cannot query.

        Each in the format of that module: name, version, instruction set, `via` the framework.
        Called after the import and again after timing. Optional.
        """
        return ()

    def notes(self) -> Tuple[str, ...]:
        """Return notes for a reader of the row: layouts, fallbacks, composed operations.

        A composed operation in the format of velodrome.adapters.composed_ops: a report counts them.
        """
        return ()
