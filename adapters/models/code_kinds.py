"""The input and the loss of a model that is given as code, and questions about such a model."""

from typing import Any, NamedTuple, Tuple

from velodrome.adapters.protocol import TIMED_PHASES, TRAINING_PHASES, USUAL_PHASES

WITH_OPTIMIZERS = "torch"  # of the frameworks of code


class Code(NamedTuple):
    """A user's file in place of layers: its constants, and the hash of its text.

    framework: the one that it is written for. unit: one example's. tokens: of one example, 0 if it
    is no sequence. Operations are of one example, 0 if the file states none. evaluates: it has a
    function for the phase inference.
    """

    framework: str
    sha256: str
    unit: str = "example"
    tokens: int = 0
    forward_flops: float = 0.0
    gradient_flops: float = 0.0
    requirements: Tuple[str, ...] = ()
    evaluates: bool = False


class CodeLoss(NamedTuple):
    """The loss that the user's file computes: a mean over the batch."""


def is_code(model: Any) -> bool:
    """Return True if a model is given as code."""
    return isinstance(getattr(model, "input", None), Code)


def list_code_phases(code: Code) -> Tuple[str, ...]:
    """List the timed phases that a file of code has, in order."""
    own = USUAL_PHASES + (("inference",) if code.evaluates else ())
    own += TRAINING_PHASES if code.framework == WITH_OPTIMIZERS else ()
    return tuple(phase for phase in TIMED_PHASES if phase in own)


def runs_in(model: Any, framework: str) -> bool:
    """Return True if a framework, at any version, can run the model: code runs in its own alone."""
    return not is_code(model) or bool(model.input.framework == framework.partition("==")[0])


def choose_adapter(adapter: str, model: Any) -> str:
    """Return the module of the adapter that runs a model. adapter: the framework's for others."""
    return adapter.rsplit(".", 1)[0] + ".own_code" if is_code(model) else adapter
