"""The interface of one kind of layer: a forward function and a backward function."""

from typing import Any, Callable, Dict, FrozenSet, NamedTuple, Optional, Tuple

import numpy

Array = numpy.ndarray
Weights = Dict[str, Array]  # one layer's parameters by role, float64
Gradients = Tuple[Tuple[Optional[Array], ...], Weights]  # per input; per role


class CallContext(NamedTuple):
    """Data that a layer may need besides its input.

    lengths: (batch,) the true length of each sequence. dropout: what to draw from, None for off.
    statistics: as in velodrome.adapters.contract.Adapter.start_inference, for the forward pass of
    an evaluation; None while training.
    """

    lengths: Optional[Array] = None
    dropout: Optional[numpy.random.RandomState] = None
    statistics: Optional[Dict[str, Array]] = None


class Operation(NamedTuple):
    """forward(layer, weights, inputs, call) -> (output, saved)

    backward(layer, weights, saved, gradient, wanted) -> (gradient per input, gradient per role)

    saved is whatever backward needs to see again. wanted holds `input` and the roles of which a
    gradient is of use; what is not wanted may be None or left out. Arrays have the batch first.
    """

    forward: Callable[[Any, Weights, Tuple[Array, ...], CallContext], Tuple[Array, Any]]
    backward: Callable[[Any, Weights, Any, Array, FrozenSet[str]], Gradients]
