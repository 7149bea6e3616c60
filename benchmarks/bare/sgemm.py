"""The shortest of some products of one OpenBLAS, in this process: `python sgemm.py LIBRARY`.

Prints the library, the core type that it runs, and ms of CPU time of sgemm of 1000 x 1000 x 1000.
"""

import ctypes
import json
import sys
import time

import numpy

from velodrome.adapters.worker.kernels import Library, query_openblas
from velodrome.adapters.worker.openblas_probe import load_library

SIZE, CALLS = 1000, 9


def shortest_ms(library):
    whole = ctypes.c_int64 if "USE64BITINT" in library.text("openblas_get_config") else ctypes.c_int
    matrix = [ctypes.c_void_p, whole]
    words = [ctypes.c_int] * 3 + [whole] * 3 + [ctypes.c_float] + matrix * 2 + [ctypes.c_float]
    multiply = library.function("cblas_sgemm", None, *(words + matrix))
    arrays = [numpy.ones((SIZE, SIZE), numpy.float32) for _ in range(3)]
    at = [(array.ctypes.data, SIZE) for array in arrays]
    arguments = (101, 111, 111) + (SIZE,) * 3 + (1.0,) + at[0] + at[1] + (0.0,) + at[2]
    return 1e3 * min(once(multiply, arguments) for _ in range(CALLS))


def once(multiply, arguments):
    began = time.thread_time()
    multiply(*arguments)
    return time.thread_time() - began


if __name__ == "__main__":
    load_library(sys.argv[1])
    library = Library(sys.argv[1])
    print(json.dumps({"library": query_openblas(library), "ms": shortest_ms(library)}))
