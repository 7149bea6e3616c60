"""Flags of Theano and its successors, set in one variable before the import."""

import glob
import os

import scipy.linalg  # loads the OpenBLAS that compiled code is linked to

# floatX: what Python numbers and zeros become. allow_gc: memory of what is between operations is
# kept from call to call, as its manual advises for speed. openmp: without it, convolution takes one
# image after the other; OMP_NUM_THREADS sets the number of threads.
FLAGS = (("floatX", "float32"), ("allow_gc", "False"), ("openmp", "True"))
BLAS_FLAG = "blas{}ldflags"


def set_up(variable, separator):
    """Append our flags to existing ones. separator: within a flag's name."""
    found = [flag for flag in (os.environ.get(variable, ""),) if flag]
    found += ["{}={}".format(name, value) for name, value in FLAGS]
    found.append("{}={}".format(BLAS_FLAG.format(separator), blas_flags()))
    os.environ[variable] = ",".join(found)


def blas_flags():
    """Return linker flags for the OpenBLAS in SciPy's wheel; ImportError without one.

    NumPy's would do, too, but for its newer wheels: their names of functions end in `64_`. SciPy's
    newer wheels put `scipy_` before the names of the library and of its functions. No path is
    needed at run time, since a library of that name is loaded by then.
    """
    folder = os.path.join(os.path.dirname(os.path.dirname(scipy.__file__)), "scipy.libs")
    libraries = sorted(glob.glob(os.path.join(folder, "lib*openblas*.so")))
    if not libraries:
        raise ImportError("{} holds no libopenblas: install SciPy from its wheel".format(folder))
    name = os.path.basename(libraries[0])[len("lib") : -len(".so")]
    return "-L{} -l{}".format(folder, name)


def require_compiler(name, path):
    """Raise ImportError without a compiler: the framework would use Python, far slower."""
    if not path:
        raise ImportError("{} needs a C++ compiler: install g++".format(name))
