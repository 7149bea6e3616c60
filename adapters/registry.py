"""The frameworks that come with Velodrome: names, adapter folders and variants."""

import os
from typing import Dict, NamedTuple, Tuple

HERE = os.path.dirname(os.path.abspath(__file__))


class Framework(NamedTuple):
    """Facts about a framework that need no import of it. The first variant is the default."""

    name: str
    about: str
    variants: Tuple[str, ...]
    devices: Tuple[str, ...]
    adapter: str  # the module a worker imports
    folder: str  # holds environment.toml and locks/
    path: str = ""  # an extra entry of the worker's import path; empty for bundled ones

    @property
    def default_variant(self) -> str:
        return self.variants[0]


def _bundled(
    name: str, about: str, variants: Tuple[str, ...], devices: Tuple[str, ...]
) -> Framework:
    return Framework(
        name,
        about,
        variants,
        devices,
        "velodrome.adapters.frameworks.%s.adapter" % name,
        os.path.join(HERE, "frameworks", name),
    )


FRAMEWORKS: Dict[str, Framework] = {
    framework.name: framework
    for framework in (
        _bundled("numpy", "the float64 reference itself", ("float64",), ("cpu",)),
        _bundled("torch", "PyTorch", ("eager", "channels_last", "compile"), ("cpu", "gpu")),
        _bundled("tensorflow", "TensorFlow", ("graph", "eager", "xla"), ("cpu", "gpu")),
        _bundled("jax", "JAX", ("jit", "eager"), ("cpu", "gpu")),
        _bundled("theano", "Theano", ("corrmm", "direct"), ("cpu",)),
        _bundled("pytensor", "PyTensor", ("c",), ("cpu",)),
        _bundled("pytensor3", "PyTensor 3", ("numba", "c"), ("cpu",)),
        _bundled("caffe", "Caffe", ("openblas",), ("cpu",)),
        _bundled("mxnet", "Apache MXNet", ("hybrid", "imperative", "threaded"), ("cpu",)),
        _bundled("chainer", "Chainer", ("ideep", "numpy"), ("cpu",)),
        _bundled("cntk", "CNTK", ("default",), ("cpu",)),
        _bundled("neon", "neon", ("mkl", "cpu"), ("cpu",)),
    )
}
