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


def _bundle(
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
        _bundle("numpy", "the float64 reference itself", ("float64",), ("cpu",)),
        _bundle(
            "torch",
            "PyTorch",
            (
                "eager",
                "channels_last",
                "compile",
                "cudnn_heuristics",
                "cudnn_deterministic",
                "fsdp",
            ),
            ("cpu", "gpu"),
        ),
        _bundle("tensorflow", "TensorFlow", ("graph", "eager", "xla"), ("cpu", "gpu")),
        _bundle("jax", "JAX", ("jit", "eager"), ("cpu", "gpu")),
        _bundle("theano", "Theano", ("corrmm", "direct"), ("cpu",)),
        _bundle("pytensor", "PyTensor", ("c",), ("cpu",)),
        _bundle("pytensor3", "PyTensor 3", ("numba", "c"), ("cpu",)),
        _bundle("caffe", "Caffe", ("openblas",), ("cpu",)),
        _bundle("mxnet", "Apache MXNet", ("hybrid", "imperative", "threaded"), ("cpu",)),
        _bundle("chainer", "Chainer", ("ideep", "numpy"), ("cpu",)),
        _bundle("cntk", "CNTK", ("default",), ("cpu",)),
        _bundle("neon", "neon", ("mkl", "cpu"), ("cpu",)),
    )
}
