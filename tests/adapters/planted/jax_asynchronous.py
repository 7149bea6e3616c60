"""JAX as it comes: calls on the CPU are queued, and nothing waits for them."""

import jax

from velodrome.adapters.jax import adapter


class Adapter(adapter.Adapter):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        jax.config.update("jax_cpu_enable_async_dispatch", True)  # noqa: FBT003
