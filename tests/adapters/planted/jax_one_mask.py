"""JAX with one dropout mask for all examples of a batch."""

import jax

from velodrome.adapters.frameworks.jax import adapter, operations
from velodrome.adapters.models import layers as kinds


def one_mask(layer, weights, call, x):
    share = 1.0 - call.rates[layer.name]
    return x * jax.random.bernoulli(call.keys[layer.name], share, (1, *x.shape[1:])) / share


operations.OPERATIONS[kinds.Dropout] = one_mask
Adapter = adapter.Adapter
