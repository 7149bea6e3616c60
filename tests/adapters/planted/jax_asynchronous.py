"""JAX as it comes: calls on the CPU are queued, and nothing waits for them."""

import jax

from velodrome.adapters.frameworks.jax import adapter


def asynchronous(device, dtype):
    jax.config.update("jax_default_matmul_precision", "highest")
    jax.config.update("jax_platforms", "cpu")
    return jax.devices(device)[0]


adapter.find_device = asynchronous
Adapter = adapter.Adapter
