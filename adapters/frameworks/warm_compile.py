"""A wrapper that compiles a function for every batch shape before any timed call."""

import contextlib
from typing import Any, Callable, Dict, Iterable, Iterator, Tuple

BatchArrays = Dict[str, Any]  # arrays of NumPy or of a framework


@contextlib.contextmanager
def _change_nothing() -> Iterator[None]:
    yield


class WarmCompiledFunction(object):
    """A function of a batch, given as a dict of arrays. The first call runs every shape once.

    rehearsal: the context of the runs on other shapes than the first call's, for a function that
    changes parameters: behind it they are as before.
    """

    def __init__(
        self,
        function: Callable[[BatchArrays], Any],
        batches: Iterable[BatchArrays],
        rehearsal: Callable[[], Any] = _change_nothing,
    ) -> None:
        self._function, self._rehearsal = function, rehearsal
        self._uncompiled = {_shapes(batch): batch for batch in batches}

    def __call__(self, batch: BatchArrays) -> Any:
        if self._uncompiled:
            self._uncompiled.pop(_shapes(batch), None)
            self._run_uncompiled()
        return self._function(batch)

    def _run_uncompiled(self) -> None:
        if self._uncompiled:
            with self._rehearsal():
                for other in self._uncompiled.values():
                    self._function(other)
        self._uncompiled = {}


def _shapes(batch: BatchArrays) -> Tuple[Tuple[str, Tuple[int, ...]], ...]:
    return tuple((name, tuple(tensor.shape)) for name, tensor in sorted(batch.items()))
