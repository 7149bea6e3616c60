"""Adapter for PyTensor 2: the Theano family's, compiled to C."""

from velodrome.adapters.frameworks.theano_family import flags

flags.set_up("PYTENSOR_FLAGS", "__")

import pytensor  # noqa: E402
from pytensor import tensor  # noqa: E402
from pytensor.tensor import nnet  # noqa: E402
from pytensor.tensor.random.utils import RandomStream  # noqa: E402
from pytensor.tensor.signal.pool import pool_2d  # noqa: E402

from velodrome.adapters.frameworks.theano_family.adapter import FamilyAdapter  # noqa: E402
from velodrome.adapters.frameworks.theano_family.library import TheanoLibrary  # noqa: E402

flags.require_compiler("PyTensor", pytensor.config.cxx)
STREAM = RandomStream(0)


def _uniform(shape):
    return STREAM.uniform(size=shape)


class Adapter(FamilyAdapter):
    name = "pytensor"
    variants = ("c",)
    library = TheanoLibrary(
        pytensor,
        tensor,
        nnet,
        tensor.sigmoid,
        pool_2d,
        nnet.batchnorm.batch_normalization_train,
        nnet.batchnorm.batch_normalization_test,
        _uniform,
        tensor.batched_dot,
    )

    @staticmethod
    def version():
        return pytensor.__version__
