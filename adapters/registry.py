"""Which frameworks come with Velodrome: a name, the folder that holds its adapter, its variants."""

import os
from typing import Dict, NamedTuple, Tuple

HERE = os.path.dirname(os.path.abspath(__file__))


class Framework(NamedTuple):
    """What is known of a framework without importing it. The first variant is the default."""

    name: str
    about: str
    variants: Tuple[str, ...]
    devices: Tuple[str, ...]
    adapter: str  # the module a worker imports
    folder: str  # holds environment.toml and locks/
    path: str = ""  # what a worker's import path needs besides Velodrome; empty for ours

    @property
    def default_variant(self):
        # type: () -> str
        return self.variants[0]


def _ours(name, about, variants, devices):
    # type: (str, str, Tuple[str, ...], Tuple[str, ...]) -> Framework
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
        _ours("numpy", "the float64 reference itself", ("float64",), ("cpu",)),
        _ours("torch", "PyTorch", ("eager", "channels_last", "compile"), ("cpu", "gpu")),
        _ours("tensorflow", "TensorFlow", ("graph", "eager", "xla"), ("cpu", "gpu")),
        _ours("jax", "JAX", ("jit", "eager"), ("cpu", "gpu")),
        _ours("theano", "Theano", ("corrmm", "direct"), ("cpu",)),
        _ours("pytensor", "PyTensor", ("c",), ("cpu",)),
        _ours("pytensor3", "PyTensor 3", ("numba", "c"), ("cpu",)),
        _ours("caffe", "Caffe", ("openblas",), ("cpu",)),
        _ours("mxnet", "Apache MXNet", ("hybrid", "imperative", "threaded"), ("cpu",)),
        _ours("chainer", "Chainer", ("ideep", "numpy"), ("cpu",)),
        _ours("cntk", "CNTK", ("default",), ("cpu",)),
        _ours("neon", "neon", ("mkl", "cpu"), ("cpu",)),
    )
}
