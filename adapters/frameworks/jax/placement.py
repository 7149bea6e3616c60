"""Placement of arrays and functions: on one device, or divided among those of a mesh.

An array is the same on all devices, or divided along the axis of the examples. A function on a mesh
runs once on each device, under jax.shard_map, and reads that device's part of its arguments.
"""

import jax
import jax.numpy as jnp
import numpy
from jax.sharding import Mesh, NamedSharding, SingleDeviceSharding
from jax.sharding import PartitionSpec as P

from velodrome.adapters.frameworks.division import require_equal

AXIS = "device"
SAME, DIVIDED = P(), P(AXIS)
TIME_FIRST = P(None, AXIS)  # of sequences (time, batch, n)


class _Queue(object):
    """Runs timed calls, and waits for those that JAX has queued.

    JAX has no call that waits for a device. A device runs what is queued in order, so the last
    results are ready when everything before them is done.
    """

    def __init__(self, queues):
        """queues: calls are queued and `synchronize` waits for them; else a call waits itself."""
        self._queues = queues
        self._last = None

    def run(self, function, *arguments):
        """Call a function of arrays, or queue the call; return its results."""
        if not self._queues:
            return self._wait(function(*arguments))
        self._last = None  # or its memory would be in use beside that of the new results
        self._last = result = function(*arguments)
        return result

    def synchronize(self):
        jax.block_until_ready(self._last)

    def copy(self, array):
        """Return a copy to be read, where a device has its own memory: each reading moves it again.

        JAX keeps what the host has read of an array, and would serve a second reading from that.
        """
        return jnp.copy(array) if self._queues else array

    def _wait(self, result):
        raise NotImplementedError


class OneDevice(_Queue):
    """Places everything on one device; specifications mean nothing there.

    Without `queues` a call on a CPU returns when it is done, see find_device.
    """

    count = 1

    def __init__(self, device, *, queues):
        super().__init__(queues)
        self._device = device
        self.devices = [device]

    def replicate(self, tree):
        return jax.device_put(tree, self._device)

    def divide(self, tree, specs):
        return jax.device_put(tree, self._device)

    def compile(self, function, arguments, results, **options):
        """Compile a function. options: of jax.jit."""
        return jax.jit(function, **options)

    def find_memory(self, kind):
        """Return the sharding of arrays in a kind of memory."""
        return SingleDeviceSharding(self._device, memory_kind=kind)

    def _wait(self, result):
        return result

    def peak_memory_bytes(self):
        return self._device.memory_stats()["peak_bytes_in_use"]

    def read(self, name, array):
        """Return what the host reads of an array."""
        return self.copy(array)

    def read_own(self, array):
        """Return the host's copy of an array that is divided along its first axis."""
        return jax.device_get(self.copy(array))

    def list_parts(self, tree):
        """List what each device has of a tree of arrays."""
        return [tree]

    def notes(self, *, reduces):
        return ()


class Devices(_Queue):
    """Places arrays on a mesh of one axis, AXIS.

    On several devices of a CPU XLA queues calls even if it is told not to (tried with jaxlib 0.12).
    """

    def __init__(self, devices, *, queues):
        super().__init__(queues)
        self.count = len(devices)
        self._devices = devices
        self.devices = list(devices)
        self._mesh = Mesh(numpy.array(devices), (AXIS,))

    def replicate(self, tree):
        return jax.device_put(tree, NamedSharding(self._mesh, SAME))

    def divide(self, tree, specs):
        """Place each device's part. specs: one for all arrays, or one by name."""
        if isinstance(specs, dict):
            return {name: self.divide(array, specs[name]) for name, array in tree.items()}
        return self._place_parts(tree, NamedSharding(self._mesh, specs))

    def _place_parts(self, tree, sharding):
        return jax.device_put(tree, sharding)

    def compile(self, function, arguments, results, **options):
        """Compile a function of each device's parts. arguments, results: their specifications.

        That results called SAME are the same is not checked here, but by `read`: JAX's own check
        rejects loops that start from a constant.
        """
        each = jax.shard_map(
            function, mesh=self._mesh, in_specs=arguments, out_specs=results, check_vma=False
        )
        return jax.jit(each, **options)

    def find_memory(self, kind):
        """Return the sharding of arrays that are divided among the devices in a kind of memory."""
        return NamedSharding(self._mesh, DIVIDED, memory_kind=kind)

    def _wait(self, result):
        return jax.block_until_ready(result)

    def peak_memory_bytes(self):
        return sum(device.memory_stats()["peak_bytes_in_use"] for device in self._devices)

    def read(self, name, array):
        """Return an array that all devices have. Disagreed if one of them has another."""
        return require_equal(name, self._read_parts(array))

    def read_own(self, array):
        """Return this process's part of an array that is divided along its first axis."""
        return numpy.concatenate(self._read_parts(array))

    def _read_parts(self, array):
        return [numpy.asarray(part) for part in self.list_parts(self.copy(array))]

    def list_parts(self, tree):
        """List what each device of this process has of a tree, in the order of the devices."""
        return [
            jax.tree.map(lambda array, own=device: _find_part(array, own), tree)
            for device in self._devices
        ]

    def notes(self, *, reduces):
        """Yield how the devices work together. reduces: the model has a loss and gradients."""
        yield self._describe()
        if reduces:
            yield "one pmean of the loss and all gradients, in float32"

    def _describe(self):
        return "data parallel on {} devices of one process, by jax.shard_map".format(self.count)


class DevicesOfNodes(Devices):
    """Devices of several processes, of which each sees what its own have.

    What is replicated must be equal in all processes; what is divided is this process's part.
    """

    def __init__(self, devices, own, *, queues):
        super().__init__(devices, queues=queues)
        self.count, self._devices = len(own), own
        self._processes = len(devices) // len(own)

    def replicate(self, tree):
        return jax.tree.map(self._replicate, tree)

    def _place_parts(self, tree, sharding):
        return jax.tree.map(
            lambda part: jax.make_array_from_process_local_data(sharding, numpy.asarray(part)), tree
        )

    def _describe(self):
        text = "data parallel on {} devices of {} processes, by jax.shard_map over jax.distributed"
        return text.format(self.count * self._processes, self._processes)

    def _replicate(self, array):
        if isinstance(array, jax.Array) and not array.is_fully_addressable:
            return array
        values = numpy.asarray(array)
        sharding = NamedSharding(self._mesh, SAME)
        return jax.make_array_from_callback(values.shape, sharding, lambda index: values[index])


def _find_part(array, device):
    (found,) = [shard.data for shard in array.addressable_shards if shard.device == device]
    return found
