"""A sweep begun where a core and an interpreter are wanting, and gone on with where they are."""

import os
import sys

import pyarrow.dataset
import pytest

from velodrome.agents.inventory import take

pytestmark = pytest.mark.slow

SWEEP = """
name: wanting
frameworks: [numpy, missing_import]
models: [autoencoder-400-200-100/ae1]
batch_sizes: {autoencoder-400-200-100/ae1: [2]}
threads: [1, 2]
repeats: 2
timing: {target: 50%, min_samples: 3, min_seconds: 0.01, max_seconds: 1}
"""


@pytest.mark.skipif(take().physical < 2, reason="nothing more than one core could be given later")
def test_a_core_that_joins_and_an_interpreter_that_is_mended_are_made_use_of(
    command, tmp_path
) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexit 1\n")
    python.chmod(0o700)
    one_core = {min(os.sched_getaffinity(0))}
    poor = type(command)(
        command.folder, {**command.variables, "VELODROME_PYTHON_MISSING_IMPORT": str(python)}
    )
    command.sweep(SWEEP)
    everywhere = os.sched_getaffinity(0)
    os.sched_setaffinity(0, one_core)  # the command inherits it
    try:
        begun = poor.run("run", "sweep.yaml", "--results", "wanting")
    finally:
        os.sched_setaffinity(0, everywhere)
    assert begun.returncode == 1, begun.stderr
    assert outcomes(command) == [
        ("missing_import", 1, 0, 1, "environment_failed"),
        ("missing_import", 1, 1, 1, "environment_failed"),
        ("missing_import", 2, 0, 1, "unplaceable"),
        ("numpy", 1, 0, 1, "ok"),
        ("numpy", 1, 1, 1, "ok"),
        ("numpy", 2, 0, 1, "unplaceable"),
    ]
    # NumPy that is asked for the module which nobody has crashes: an end of its own.
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    gone_on = poor.run("run", "--resume", "last", "--results", "wanting")
    assert "6 of 8 runs to do" in gone_on.stdout, gone_on.stderr
    last = outcomes(command)
    assert [row[:4] for row in last if row[0] == "numpy"] == [
        ("numpy", 1, 0, 1),
        ("numpy", 1, 1, 1),
        ("numpy", 2, 0, 2),
        ("numpy", 2, 1, 1),
    ]


def outcomes(command) -> list[tuple[object, ...]]:
    """framework, threads, repeat, attempt and status of the last attempts."""
    place = command.folder / "wanting" / "tasks"
    rows = pyarrow.dataset.dataset(place, partitioning="hive").to_table().to_pylist()
    names = ("framework", "threads", "repeat", "attempt")
    kinds = {"unstable": "ok"}
    found = {
        tuple(row[name] for name in names[:3]): (
            *(row[name] for name in names),
            kinds.get(row["status"], row["status"]),
        )
        for row in sorted(rows, key=lambda row: row["attempt"])
    }
    return sorted(found.values())
