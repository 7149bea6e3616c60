"""Which typed outcome an exception stands for."""

import traceback
from typing import List

from velodrome.adapters.protocol import Failed, monotonic_ns

REASON_LENGTH = 300  # characters: a cell of a table
DETAIL_LENGTH = 20000  # characters: compilers put whole programs into their errors

# By name: a framework's own classes are not to be had here, and ours import NumPy, which may be
# what failed. A bare name stands for a class of any module.
STATUS_OF_CLASS = {
    "velodrome.adapters.contract.Unsupported": "unsupported",
    "velodrome.adapters.proof.agreement.Disagreed": "disagreed",
    "ImportError": "environment_failed",
    "MemoryError": "out_of_memory",
    "OutOfMemoryError": "out_of_memory",  # torch
    "ResourceExhaustedError": "out_of_memory",  # tensorflow
}
# What the frameworks' C++ says, wrapped into a RuntimeError or a class of theirs.
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


def failed(error: BaseException) -> Failed:
    """The event that tells of it; what a Disagreed found goes along."""
    status = status_of(error)
    return Failed(
        status=status,
        reason=reason_of(error),
        detail=getattr(error, "detail", "") if status == "disagreed" else traceback_of(error),
        at_ns=monotonic_ns(),
        parameters=getattr(error, "parameters", ()) if status == "disagreed" else (),
        loss_error=getattr(error, "loss_error", float("nan")),
    )


def status_of(error: BaseException) -> str:
    for name in _class_names(error):
        if name in STATUS_OF_CLASS:
            return STATUS_OF_CLASS[name]
    text = str(error).lower()
    if any(words in text for words in OUT_OF_MEMORY_WORDS):
        return "out_of_memory"
    return "crashed"


def reason_of(error: BaseException) -> str:
    """One line: the message's first, behind the class unless that is ours and speaks for itself."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    name = type(error).__name__
    if not lines:
        return name
    ours = type(error).__module__.startswith("velodrome.")
    return (lines[0] if ours else "{}: {}".format(name, lines[0]))[:REASON_LENGTH]


def traceback_of(error: BaseException) -> str:
    """With the exceptions that led to it; of a long one the end, where the cause is named."""
    lines = traceback.format_exception(type(error), error, error.__traceback__)
    return "".join(lines)[-DETAIL_LENGTH:]


def _class_names(error: BaseException) -> List[str]:
    """Of its class and those above it, the nearest first, each by its full and its bare name."""
    names = []
    for kind in type(error).__mro__:
        names += ["{}.{}".format(kind.__module__, kind.__name__), kind.__name__]
    return names
