"""The device of JAX, set to the precision of its float32 products."""

import jax

from velodrome.adapters.contract import Unsupported
from velodrome.adapters.frameworks.jax.precision import MATMUL_PRECISIONS


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
