"""A wrapper that compiles a function for every batch shape before any timed call."""

from typing import Any, Callable, Dict, Iterable, Tuple

BatchArrays = Dict[str, Any]  # arrays of NumPy or of a framework


class WarmCompiledFunction(object):
    """A function of a batch, given as a dict of arrays. The first call runs every shape once."""

    def __init__(
        self, function: Callable[[BatchArrays], Any], batches: Iterable[BatchArrays]
    ) -> None:
        self._function = function
        self._uncompiled = {_shapes(batch): batch for batch in batches}

    def __call__(self, batch: BatchArrays) -> Any:
        if self._uncompiled:
            self._uncompiled.pop(_shapes(batch), None)
            for other in self._uncompiled.values():
                self._function(other)
            self._uncompiled = {}
        return self._function(batch)


def _shapes(batch: BatchArrays) -> Tuple[Tuple[str, Tuple[int, ...]], ...]:
    return tuple((name, tuple(tensor.shape)) for name, tensor in sorted(batch.items()))
