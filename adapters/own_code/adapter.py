"""The contract of adapters of user's code: also in float64, for their reference."""

import contextlib
from typing import Any, Dict, Iterator, Tuple

import numpy

from velodrome.adapters import contract
from velodrome.adapters.own_code.loading import LoadedCode

FLOAT64 = "float64"  # a dtype that only references have
SEED = "seed"  # the only entry of the weights: the code draws its parameters itself
NOTE = "verified against its own code in float64, not against the NumPy reference"


class RoundingFindings(object):
    """Findings on rounded products. may_jump: an operation whose gradient jumps, such as a ReLU."""

    def __init__(self) -> None:
        self.may_jump = False


class CodeAdapter(contract.Adapter):
    """An adapter of user's code. Its parameters are in float64 on the CPU if dtype is FLOAT64.

    build gets no weights but SEED, from which the framework's generators are seeded.
    """

    code: LoadedCode

    @contextlib.contextmanager
    def round_products(self, dtype: str) -> Iterator[RoundingFindings]:
        """Round the operands and results of products to a precision within the context.

        Unsupported if the framework has no way to do that.
        """
        raise contract.Unsupported(
            "user's code in {} runs in float32 alone: it has no way to predict the errors of "
            "{}".format(self.code.framework, dtype)
        )
        yield RoundingFindings()

    def set_dropout(self, active: bool) -> None:  # noqa: FBT001 - the contract's
        """Do nothing: the file decides, and its reference rejects code that is random."""

    def read_seed(self, weights: Dict[str, numpy.ndarray]) -> int:
        """Return the seed of the parameters."""
        return int(weights[SEED])

    def read_loss(self, output: Any) -> Any:
        """Return the loss in what the user's forward, or a module, returned."""
        loss = getattr(output, "loss", None)
        if loss is None and isinstance(output, dict):
            loss = output.get("loss")
        return output if loss is None else loss

    def read_gradient(self, found: Any) -> Tuple[Any, Dict[str, Any]]:
        """Return (loss, gradients by name) as the user's gradient returned them. CodeFailed."""
        if isinstance(found, tuple) and len(found) == 2 and isinstance(found[1], dict):
            return found[0], found[1]
        problem = "gradient() returned a {}".format(type(found).__name__)
        raise self.code.reject(self.code.gradient, problem, "Return (loss, gradients by name)")

    def require_output(self, array: numpy.ndarray, examples: int) -> numpy.ndarray:
        """Return the output of inference in float32, or in float64 for a reference. CodeFailed.

        array: on the host. examples: of the batch, the length of its first axis.
        """
        mend = "Return one array, whose first axis is that of the examples"
        if array.dtype.kind not in "biuf":
            problem = "inference() returned an array of {}".format(array.dtype)
            raise self.code.reject(self.code.inference, problem, mend)
        if array.shape[:1] != (examples,):
            problem = "inference() returned the shape {} for {} examples".format(
                tuple(array.shape), examples
            )
            raise self.code.reject(self.code.inference, problem, mend)
        return numpy.ascontiguousarray(array, None if array.dtype == FLOAT64 else numpy.float32)

    def require_scalar(self, shape: Tuple[int, ...]) -> None:
        """Raise CodeFailed unless a loss has the shape of one number."""
        if any(length != 1 for length in shape):
            function = self.code.forward or self.code.make
            problem = "the loss has the shape {}".format(tuple(shape))
            raise self.code.reject(function, problem, "Return its mean over the batch")
