"""The typed outcome of each exception."""

import traceback
from typing import List

from velodrome.adapters.protocol import DISCONNECTED, Failed, monotonic_ns

REASON_LENGTH = 300  # characters: a cell of a table
DETAIL_LENGTH = 20000  # characters: compilers quote whole programs in their errors

# By name: frameworks' classes are not importable here, and ours import NumPy, which may be what
# failed. A bare name matches a class of any module.
STATUS_OF_CLASS = {
    "velodrome.adapters.contract.Unsupported": "unsupported",
    "velodrome.adapters.proof.disagreement.Disagreed": "disagreed",
    "velodrome.adapters.groups.sockets.PeerUnreachable": DISCONNECTED,
    "ImportError": "environment_failed",
    "MemoryError": "out_of_memory",
    "OutOfMemoryError": "out_of_memory",  # torch
    "ResourceExhaustedError": "out_of_memory",  # tensorflow
}
# Messages of the frameworks' C++ code, in a RuntimeError or a class of their own.
OUT_OF_MEMORY_WORDS = (
    "out of memory",
    "std::bad_alloc",
    "can't allocate memory",
    "cannot allocate memory",
    "defaultcpuallocator",
    "resource_exhausted",
    "resource exhausted",
    "oom when allocating",
)


def make_failed(error: BaseException) -> Failed:
    """Return the event for an exception; a Disagreed adds its table."""
    status = classify_error(error)
    return Failed(
        status=status,
        reason=format_reason(error),
        detail=getattr(error, "detail", "") if status == "disagreed" else format_traceback(error),
        at_ns=monotonic_ns(),
        parameters=getattr(error, "parameters", ()) if status == "disagreed" else (),
        loss_error=getattr(error, "loss_error", float("nan")),
    )


def classify_error(error: BaseException) -> str:
    """Return the status for an exception."""
    for name in _class_names(error):
        if name in STATUS_OF_CLASS:
            return STATUS_OF_CLASS[name]
    text = str(error).lower()
    if any(words in text for words in OUT_OF_MEMORY_WORDS):
        return "out_of_memory"
    return "crashed"


def format_reason(error: BaseException) -> str:
    """Return the first line of the message, with the class's name unless the class is ours."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    name = type(error).__name__
    if not lines:
        return name
    ours = type(error).__module__.startswith("velodrome.")
    return (lines[0] if ours else "{}: {}".format(name, lines[0]))[:REASON_LENGTH]


def format_traceback(error: BaseException) -> str:
    """Return the traceback with its chained exceptions; of a long one the end, with the cause."""
    lines = traceback.format_exception(type(error), error, error.__traceback__)
    return "".join(lines)[-DETAIL_LENGTH:]


def _class_names(error: BaseException) -> List[str]:
    """List the full and bare names of its class and base classes, the nearest first."""
    names = []
    for kind in type(error).__mro__:
        names += ["{}.{}".format(kind.__module__, kind.__name__), kind.__name__]
    return names
