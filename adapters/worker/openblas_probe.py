"""A probe of OpenBLAS libraries: the kernels that each runs, and if its products are exact.

`python -m velodrome.adapters.worker.openblas_probe LIBRARY...` prints one JSON object per library
that is an OpenBLAS: `path`, `version`, `core`, `exact`. The agent starts it once with the
library's own choice, and once for each OPENBLAS_CORETYPE that it considers
(velodrome.agents.environments.core_types). Some versions crash or compute wrongly with kernels for
a CPU that they do not know. The products here are of small integers whose sums float32 holds
exactly, so a correct result is equal to the bit.
"""

import ctypes
import json
import os
import sys
from typing import Any, Dict, Iterable, Iterator, Tuple

import numpy

from velodrome.adapters.worker.kernels import Library, query_openblas

# Rows, columns and depth: complete blocks of a kernel, remainders of each, and a vector.
SHAPES = ((64, 64, 64), (37, 129, 61), (200, 7, 311), (256, 192, 384), (33, 1, 257))
_ROW_MAJOR, _PLAIN, _TRANSPOSED = 101, 111, 112  # cblas.h
ORDERS = tuple((left, right) for left in (_PLAIN, _TRANSPOSED) for right in (_PLAIN, _TRANSPOSED))


def probe_libraries(paths: Iterable[str]) -> Iterator[Dict[str, Any]]:
    """Yield a record for each path that is an OpenBLAS and can be loaded."""
    for path in paths:
        try:
            load_library(path)
            library = Library(path)
        except OSError:
            continue
        words = query_openblas(library).split()
        if words:
            version = words[1] if len(words) > 2 else ""
            yield {"path": path, "version": version, "core": words[-1], "exact": is_exact(library)}


def load_library(path: str) -> None:
    """Load a library, if necessary after those beside it: a wheel's libraries lack search paths.

    OSError if it is not a library, or needs one that is missing.
    """
    try:
        ctypes.CDLL(path)
    except OSError:
        folder = os.path.dirname(path)
        others = [os.path.join(folder, name) for name in os.listdir(folder) if ".so" in name]
        for other in 2 * [other for other in others if other != path]:  # they need each other
            try:
                ctypes.CDLL(other)
            except OSError:
                pass
        ctypes.CDLL(path)


def is_exact(library: Library) -> bool:
    """Check products of every shape, plain and transposed, in both precisions."""
    kinds = (
        ("cblas_sgemm", numpy.float32, ctypes.c_float),
        ("cblas_dgemm", numpy.float64, ctypes.c_double),
    )
    whole = ctypes.c_int64 if "USE64BITINT" in library.text("openblas_get_config") else ctypes.c_int
    return all(
        _is_right(library, kind, shape, orders, whole)
        for kind in kinds
        for shape in SHAPES
        for orders in ORDERS
    )


def _is_right(
    library: Library,
    kind: Tuple[str, Any, Any],
    shape: Tuple[int, int, int],
    orders: Tuple[int, int],
    whole: Any,
) -> bool:
    name, dtype, real = kind
    rows, columns, depth = shape
    left, right, sums = _draw(rows, depth), _draw(depth, columns), _draw(rows, columns)
    expected = left.dot(right) + sums  # of integers: NumPy's own loops, no BLAS
    arrays = [_store(left, orders[0], dtype), _store(right, orders[1], dtype), sums.astype(dtype)]
    matrix = [ctypes.c_void_p, whole]
    words = [ctypes.c_int] * 3 + [whole] * 3 + [real] + matrix * 2 + [real] + matrix
    multiply = library.function(name, None, *words)
    if multiply is None:  # built without CBLAS
        return True
    left_at, right_at, sums_at = [(array.ctypes.data, array.shape[1]) for array in arrays]
    factor = (1.0,)
    multiply(*((_ROW_MAJOR,) + orders + shape + factor + left_at + right_at + factor + sums_at))
    return bool(numpy.array_equal(arrays[2], expected))


def _draw(rows: int, columns: int) -> numpy.ndarray:
    """Draw small integers, different for each shape."""
    return numpy.random.RandomState(rows * 1000 + columns).randint(-8, 9, (rows, columns))


def _store(array: numpy.ndarray, order: int, dtype: Any) -> numpy.ndarray:
    return numpy.ascontiguousarray(array.T if order == _TRANSPOSED else array, dtype=dtype)


if __name__ == "__main__":
    for record in probe_libraries(sys.argv[1:]):
        sys.stdout.write(json.dumps(record, sort_keys=True) + "\n")
    sys.stdout.flush()
    os._exit(0)  # skip the libraries' exit hooks
