"""A sweep started without a core and an interpreter that it needs, and resumed with them."""

import os
import sys

import pyarrow.dataset
import pytest

from velodrome.agents.inventory import take_inventory

pytestmark = pytest.mark.slow

SWEEP = """
name: wanting
frameworks: [segfaults]
models: [autoencoder-400-200-100/ae1]
batch_sizes: {autoencoder-400-200-100/ae1: [2]}
threads: [1, 2]
repeats: 2
timing: {target: 50%, min_samples: 3, min_seconds: 0.01, max_seconds: 1}
"""


@pytest.mark.full
@pytest.mark.skipif(
    take_inventory().physical < 2, reason="nothing more than one core could be given later"
)
def test_an_added_core_and_a_repaired_interpreter_are_used(command, tmp_path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexit 1\n")
    python.chmod(0o700)
    one_core = {min(os.sched_getaffinity(0))}
    poor = type(command)(
        command.folder, {**command.variables, "VELODROME_PYTHON_SEGFAULTS": str(python)}
    )
    command.sweep(SWEEP)
    everywhere = os.sched_getaffinity(0)
    os.sched_setaffinity(0, one_core)  # the command inherits it
    try:
        first = poor.run("run", "sweep.yaml", "--results", "wanting")
    finally:
        os.sched_setaffinity(0, everywhere)
    assert first.returncode == 1, first.stderr
    assert outcomes(command) == [
        (1, 0, 1, "environment_failed"),
        (1, 1, 1, "environment_failed"),
        (2, 0, 1, "unplaceable"),
    ]
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    second = poor.run("run", "--resume", "last", "--results", "wanting")
    assert "4 of 4 runs to do" in second.stdout, second.stderr
    crashed = [(1, 0, 2), (1, 1, 2), (2, 0, 2), (2, 1, 1)]  # an end of its own
    assert outcomes(command) == [(*one, "crashed") for one in crashed]
    third = poor.run("run", "--resume", "last", "--results", "wanting")
    assert "0 of 4 runs to do" in third.stdout


def outcomes(command) -> list[tuple[object, ...]]:
    """Return threads, repeat, attempt and status of the last attempts."""
    place = command.folder / "wanting" / "tasks"
    rows = pyarrow.dataset.dataset(place, partitioning="hive").to_table().to_pylist()
    in_order = sorted(rows, key=lambda row: row["attempt"])
    last = {(row["threads"], row["repeat"]): row for row in in_order}
    return sorted((*key, row["attempt"], row["status"]) for key, row in last.items())
