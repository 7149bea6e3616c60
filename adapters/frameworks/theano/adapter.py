"""Adapter for Theano: the Theano family's, with Theano's own convolutions.

The variants differ in convolution: `corrmm` is a product of matrices, `direct` Theano's older loop
over the filter (ConvOp).
"""

from velodrome.adapters.contract import Unsupported
from velodrome.adapters.frameworks.theano_family import flags
from velodrome.adapters.models import layers as kinds

flags.set_up("THEANO_FLAGS", ".")

import theano  # noqa: E402
from theano import tensor  # noqa: E402
from theano.sandbox.rng_mrg import MRG_RandomStreams  # noqa: E402
from theano.tensor import nnet  # noqa: E402
from theano.tensor.signal.pool import pool_2d  # noqa: E402

from velodrome.adapters.frameworks.theano_family.adapter import FamilyAdapter  # noqa: E402
from velodrome.adapters.frameworks.theano_family.layers import LAYERS  # noqa: E402
from velodrome.adapters.frameworks.theano_family.library import TheanoLibrary  # noqa: E402

flags.require_compiler("Theano", theano.config.cxx)
STREAMS = MRG_RandomStreams(1)


def _direct_conv(call, layer, weights, x):
    """Cross-correlate with ConvOp, which flips its filter: it is flipped before."""
    if layer.groups > 1 or layer.padding or layer.stride > 1:
        raise Unsupported(
            "ConvOp, Theano's direct convolution, has no groups, no padding and no gradient of a "
            "convolution with a stride"
        )
    turned = weights["weight"][:, :, ::-1, ::-1]
    filter_shape = weights["weight"].get_value(borrow=True).shape
    y = nnet.conv2d(
        x,
        turned,
        input_shape=call.input_shapes[layer.name],
        filter_shape=filter_shape,
        border_mode="valid",
    )
    return y + weights["bias"].dimshuffle("x", 0, "x", "x") if layer.bias else y


def _no_direct(call, layer, weights, x):
    raise Unsupported("ConvOp, Theano's direct convolution, is no {}".format(type(layer).__name__))


DIRECT = dict(LAYERS)
DIRECT.update(
    {
        kinds.Conv: _direct_conv,
        kinds.DilatedConv: _no_direct,
        kinds.TransposedConv: _no_direct,
    }
)


class Adapter(FamilyAdapter):
    name = "theano"
    variants = ("corrmm", "direct")
    library = TheanoLibrary(
        theano,
        tensor,
        nnet,
        nnet.sigmoid,
        pool_2d,
        nnet.bn.batch_normalization_train,
        nnet.bn.batch_normalization_test,
        STREAMS.uniform,
        tensor.batched_dot,
    )

    @staticmethod
    def version():
        return theano.__version__

    def layers(self):
        return DIRECT if self._variant == "direct" else LAYERS

    def mode(self):
        mode = theano.compile.get_default_mode()
        return mode.excluding("conv_gemm") if self._variant == "direct" else mode
