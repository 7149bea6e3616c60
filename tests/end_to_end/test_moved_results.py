"""The results folder is moved or deleted while a sweep writes to it."""

import shlex
import shutil
import time

import pyarrow.dataset
import pytest

pytestmark = pytest.mark.slow


def runs(results) -> list[int]:
    if not list(results.glob("tasks/*/*.parquet")):
        return []
    return sorted(pyarrow.dataset.dataset(results / "tasks").to_table()["repeat"].to_pylist())


@pytest.mark.parametrize("fate", ["moved", pytest.param("deleted", marks=pytest.mark.full)])
def test_rows_missing_at_the_end_are_named_and_can_be_measured_again(command, fate) -> None:
    command.tiny_sweep("moved", 3)
    results, aside = command.folder / f"{fate}-R", command.folder / f"{fate}-aside"
    running = command.start("run", "sweep.yaml", "--results", results.name)
    while not runs(results) and running.poll() is None:
        time.sleep(0.02)
    results.rename(aside)
    if fate == "deleted":
        shutil.rmtree(aside)
    out, err = running.communicate(timeout=120)
    assert running.returncode == 5, out
    assert "all runs ended as expected" not in out
    (line,) = err.splitlines()
    assert f"velodrome: {results.name}: 1 of 3 runs have no row: numpy[float64]" in line
    assert runs(results) == [1, 2]
    assert runs(aside) == ([0] if fate == "moved" else [])

    again = shlex.split(line.partition("again with: ")[2])
    resumed = command.run(*again[1:])
    assert resumed.returncode == 0, resumed.stderr
    assert runs(results) == [0, 1, 2]
