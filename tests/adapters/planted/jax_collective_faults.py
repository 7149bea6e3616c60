"""JAX's all-reduce without the values of every device but the first."""

from jax import lax

from velodrome.adapters.frameworks.jax import adapter, collectives
from velodrome.adapters.frameworks.jax.placement import AXIS

collectives.CALLS["allreduce"] = lambda x, share, devices: lax.psum(
    x * (lax.axis_index(AXIS) == 0), AXIS
)

Adapter = adapter.Adapter
