"""A function that compiles once per shape of its batch, compiled before any timed call."""


class CompiledFirst(object):
    """function(batch), a batch being a dict of arrays. The first call runs every shape once."""

    def __init__(self, function, batches):
        self._function = function
        self._uncompiled = {_shapes(batch): batch for batch in batches}

    def __call__(self, batch):
        if self._uncompiled:
            self._uncompiled.pop(_shapes(batch), None)
            for other in self._uncompiled.values():
                self._function(other)
            self._uncompiled = {}
        return self._function(batch)


def _shapes(batch):
    return tuple((name, tuple(tensor.shape)) for name, tensor in sorted(batch.items()))
