"""The devices of JAX, set to the precision of its float32 products."""

import functools

import jax
import jaxlib
from jax.extend.backend import clear_backends

from velodrome.adapters.contract import Unsupported
from velodrome.adapters.frameworks.jax.precision import MATMUL_PRECISIONS
from velodrome.adapters.groups.sockets import choose_nccl_interface


def find_device(device, dtype):
    """Return the first device of its kind, set to the dtype's precision of float32 products.

    Queued calls are disabled on the CPU: they would need one more thread.
    """
    jax.config.update("jax_default_matmul_precision", MATMUL_PRECISIONS[dtype])
    if device == "cpu":
        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_cpu_enable_async_dispatch", False)  # noqa: FBT003
    try:
        return jax.devices(device)[0]
    except RuntimeError as error:
        raise Unsupported("JAX {} has no GPU here: {}".format(jax.__version__, error)) from error


def find_devices(device, count):
    """Return the first `count` devices of a kind. Unsupported if there are fewer.

    A CPU is divided into as many: JAX starts it again, as find_device has started it with one.
    """
    if device == "cpu":
        clear_backends()
        jax.config.update("jax_num_cpu_devices", count)
    return _take(jax.devices(device), count, device)


def find_devices_of_nodes(device, group):
    """Meet the processes on other nodes; return all devices, and those of this process.

    Unsupported if there are fewer than the group has.
    """
    clear_backends()
    if device == "cpu":
        jax.config.update("jax_num_cpu_devices", group.devices)
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        _listen_on(group.host)
    else:
        choose_nccl_interface(group.host)
    address = group.meeting[len("tcp://") :]
    jax.distributed.initialize(
        address,
        num_processes=group.size,
        process_id=group.rank,
        local_device_ids=list(range(group.devices)) if device == "gpu" else None,
        coordinator_bind_address=address,  # else all addresses of this node
    )
    own = _take(jax.local_devices(), group.devices, device)
    return _take(jax.devices(), group.devices * group.size, device), own


def _listen_on(host):
    """Let gloo use this address. JAX leaves it the node's name, which may not resolve to it.

    Debian's installer has it resolve to 127.0.1.1. JAX has no option for it (jax 0.12,
    xla_bridge.make_cpu_client), jaxlib's function has.
    """
    make = jaxlib._jax.make_gloo_tcp_collectives
    jaxlib._jax.make_gloo_tcp_collectives = functools.partial(make, hostname=host)


def _take(found, count, device):
    if len(found) < count:
        raise Unsupported("JAX sees {} of {} {} devices".format(len(found), count, device))
    return found[:count]
