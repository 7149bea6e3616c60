"""The fairness diff: what differed between two cells besides the framework and the time."""

import pytest
from made_rows import task_row_with

from velodrome.scheduler.reports.fairness import (
    Difference,
    describe_kernels,
    list_differences,
    read_layout,
    read_precision,
)
from velodrome.scheduler.results.typed_rows import TaskRow


def row(**changes: object) -> TaskRow:
    plain: dict[str, object] = {
        "framework": "torch",
        "framework_version": "2.13.0",
        "variant": "eager",
        "model": "lenet",
        "batch_size": 64,
        "device": "cpu",
        "gpu_count": 0,
        "threads": 2,
        "dtype": "float32",
        "cpu_model": "Some CPU",
        "gpu_name": None,
        "exclusive": True,
        "seed": 0,
        "notes": [],
        "gradient_median_ns": 3e6,
    }
    return task_row_with(**plain | changes)


def test_equally_treated_cells_have_no_differences_whichever_is_faster() -> None:
    assert list_differences(row(), row(framework="jax", gradient_median_ns=9e6)) == ()


def test_every_setting_that_affects_the_time_is_listed() -> None:
    composed = "composed: Lrn with reduce_window"
    other = row(
        framework="numpy",
        variant="float64",
        threads=4,
        notes=[composed, "copies first", "images are NHWC"],
        exclusive=False,
    )
    assert list_differences(row(), other) == (
        Difference("precision", "float32", "float64"),
        Difference("layout", "unknown", "NHWC"),
        Difference("threads", "2", "4"),
        Difference("variant", "eager", "float64"),
        Difference("composed operations", "none", composed),
        Difference("notes", "none", "copies first; images are NHWC"),
        Difference("node", "exclusive", "shared"),
    )


def test_blas_kernels_are_named_or_listed_as_unknown() -> None:
    ours, theirs = ["mkl 2024.0 AVX512", "openblas 0.3.31 SKYLAKEX"], ["openblas 0.3.13 PRESCOTT"]
    assert list_differences(row(kernels=ours), row(kernels=theirs)) == (
        Difference(
            "BLAS kernels",
            "mkl 2024.0 AVX512, openblas 0.3.31 SKYLAKEX",
            "openblas 0.3.13 PRESCOTT",
        ),
    )
    assert (
        describe_kernels(row())
        == describe_kernels(row(kernels=None))
        == describe_kernels(row(kernels=[]))
        == "unknown"
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "float32"),
        ({"variant": "float64"}, "float64"),
        ({"dtype": "bfloat16"}, "bfloat16"),
        ({"notes": ["precision is highest: no TF32"]}, "float32, no TF32"),
    ],
)
def test_precision_is_the_computing_dtype(changes: dict[str, object], expected: str) -> None:
    assert read_precision(row(**changes)) == expected


def test_the_layout_is_read_from_the_variant() -> None:
    assert read_layout(row(variant="channels_last")) == "channels_last"


def test_foreign_text_stays_in_one_line_without_control_sequences() -> None:
    (found,) = list_differences(row(), row(notes=["\x1b[2Jall\nis well\r\n"]))
    assert found.text == "notes: none / all is well"


def test_a_row_of_an_earlier_version_lacks_columns_and_says_so() -> None:
    early = row(exclusive=None, seed=None)
    assert [found.what for found in list_differences(early, row(exclusive=False))] == [
        "node",
        "seed",
    ]
