"""Arguments of the functions that build a layer's graph, besides layer, weights and inputs."""

from typing import Any, Callable, Dict, NamedTuple, Optional, Tuple


class TheanoLibrary(NamedTuple):
    """One framework of the family: modules that each keeps at another place."""

    root: Any  # theano itself: function, scan, grad, shared ...
    tensor: Any
    nnet: Any
    sigmoid: Callable
    pool_2d: Callable
    batch_normalization: Callable  # (x, scale, bias, axes=, epsilon=) -> (y, mean, 1 / deviation)
    # (x, scale, bias, mean, variance, axes=, epsilon=) -> y
    batch_normalization_test: Callable
    uniform: Callable  # (shape) -> random float32 in 0..1, new for each call
    batched_dot: Callable  # (n, i, j) by (n, j, k) -> (n, i, k)


class TheanoContext(NamedTuple):
    """Data that a layer may need."""

    library: TheanoLibrary
    lengths: Any  # (batch,) int32, None where there is no padding
    time_first: bool  # sequences are (time, batch, n), else (batch, time, n)
    rates: Dict[str, Any]  # per dropout layer, a shared scalar that is 0 while dropout is off
    input_shapes: Dict[str, Tuple[int, ...]]  # per layer, what it reads, the batch first
    # In evaluation mode, which has no dropout: per batch normalization, the running mean and
    # variance as shared vectors. None: training mode.
    statistics: Optional[Dict[str, Tuple[Any, Any]]] = None
