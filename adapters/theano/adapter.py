"""Theano as an adapter.

The variants differ in convolution: `corrmm` is a product of matrices, `direct` Theano's older loop
over the filter (ConvOp).
"""

from velodrome.adapters.theano_family import flags

flags.set_up("THEANO_FLAGS", ".")

import theano  # noqa: E402
from theano import tensor  # noqa: E402
from theano.sandbox.rng_mrg import MRG_RandomStreams  # noqa: E402
from theano.tensor import nnet  # noqa: E402
from theano.tensor.signal.pool import pool_2d  # noqa: E402

from velodrome.adapters.theano_family.adapter import FamilyAdapter  # noqa: E402
from velodrome.adapters.theano_family.library import Library  # noqa: E402

flags.require_compiler("Theano", theano.config.cxx)
STREAMS = MRG_RandomStreams(1)


class Adapter(FamilyAdapter):
    name = "theano"
    variants = ("corrmm", "direct")
    library = Library(
        theano, tensor, nnet, pool_2d, nnet.bn.batch_normalization_train, STREAMS.uniform
    )

    @staticmethod
    def version():
        return theano.__version__

    def mode(self):
        mode = theano.compile.get_default_mode()
        return mode.excluding("conv_gemm") if self._variant == "direct" else mode
