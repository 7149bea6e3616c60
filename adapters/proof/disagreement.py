"""The exception for a result that disagrees, and the table of errors in its detail."""

from typing import Tuple

from velodrome.adapters.protocol import ParameterError


class Disagreed(Exception):
    """The framework computes something other than the model. The text is one line for a table."""

    def __init__(
        self,
        reason: str,
        parameters: Tuple[ParameterError, ...] = (),
        loss_error: float = float("nan"),
        detail: str = "",
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.parameters = parameters
        self.loss_error = loss_error
        self.detail = detail or reason


def format_table(parameters: Tuple[ParameterError, ...], loss_error: float) -> str:
    """Return a line for each parameter and one for the loss."""
    width = max([len("parameter")] + [len(entry.name) for entry in parameters])
    header = "{:{}}  {:>9}  {:>9}  {:>9}  shape"
    lines = [header.format("parameter", width, "error", "allowed", "|ref|")]
    lines += [
        "{:{}}  {:9.2e}  {:9.2e}  {:9.2e}  {}".format(
            entry.name,
            width,
            entry.error,
            entry.allowed,
            entry.reference_norm,
            "x".join(map(str, entry.shape)),
        )
        for entry in parameters
    ]
    return "\n".join(lines + ["{:{}}  {:9.2e}".format("loss", width, loss_error)])
