import pytest

from velodrome.adapters.contract import Unsupported
from velodrome.adapters.proof.agreement import Disagreed
from velodrome.adapters.protocol import ParameterError
from velodrome.adapters.worker import failures


class OutOfMemoryError(RuntimeError):
    """An error with the name of torch's own."""


class ResourceExhaustedError(Exception):
    """An error with the name of TensorFlow's own."""


class ForeignUnsupported(Exception):
    """A framework's own class of this name with another meaning."""


ForeignUnsupported.__name__ = "Unsupported"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Unsupported("no grouped convolution"), "unsupported"),
        (Disagreed("3 of 4 gradients are off"), "disagreed"),
        (ModuleNotFoundError("No module named 'torch'"), "environment_failed"),
        (ImportError("libm.so: cannot allocate memory in static TLS block"), "environment_failed"),
        (MemoryError(), "out_of_memory"),
        (OutOfMemoryError("CUDA out of memory."), "out_of_memory"),
        (ResourceExhaustedError("OOM when allocating tensor"), "out_of_memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory"), "out_of_memory"),
        (RuntimeError("std::bad_alloc"), "out_of_memory"),
        (ValueError("RESOURCE_EXHAUSTED: 12 GiB"), "out_of_memory"),
        (OSError(12, "Cannot allocate memory"), "out_of_memory"),
        (RuntimeError("shapes do not fit"), "crashed"),
        (ForeignUnsupported("graph break"), "crashed"),
        (SystemExit(3), "crashed"),
    ],
)
def test_an_exception_becomes_a_typed_outcome(error, status):
    assert failures.make_failed(error).status == status


def test_the_reason_is_one_short_line_with_the_class_of_a_foreign_error():
    assert failures.format_reason(RuntimeError("\n  first\nsecond")) == "RuntimeError: first"
    assert failures.format_reason(Unsupported("no LRN")) == "no LRN"
    assert failures.format_reason(MemoryError()) == "MemoryError"
    assert len(failures.format_reason(RuntimeError("x" * 5000))) == failures.REASON_LENGTH


def test_a_disagreement_carries_its_table_instead_of_a_traceback():
    rows = (ParameterError("fc1.weight", (10, 5), 1.0, 0.5),)
    event = failures.make_failed(Disagreed("1 of 1 gradients are off", rows, 0.25, "the table"))
    assert (event.detail, event.parameters, event.loss_error) == ("the table", rows, 0.25)


def test_a_traceback_names_the_cause_and_keeps_its_end():
    try:
        try:
            {}["cause"]
        except KeyError as error:
            raise RuntimeError("x" * 100_000 + "end") from error
    except RuntimeError as error:
        detail = failures.make_failed(error).detail
    assert detail.rstrip().endswith("end")
    assert len(detail) == failures.DETAIL_LENGTH
