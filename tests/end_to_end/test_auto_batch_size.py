"""A sweep with the batch size `auto`: planned by the word, measured at the size that fits."""

import json
from pathlib import Path

import pyarrow.dataset
import pytest

pytestmark = pytest.mark.slow

MODEL = "autoencoder-400-200-100/ae3"
# Each example of `heavy` takes 8 MiB, an interpreter with NumPy up to 90.
SWEEP = f"""
name: sizes
frameworks: [heavy]
models: [{MODEL}]
batch_sizes: {{{MODEL}: [2, auto]}}
threads: [1]
repeats: 2
exclusive: false
timing: {{target: 50%, min_samples: 3, min_seconds: 0, max_seconds: 1}}
limits: {{deadline: 60s, memory: 300MiB}}
"""


def test_a_sweep_finds_the_size_once_and_is_resumed_by_the_word(command) -> None:
    command.sweep(SWEEP)
    planned = json.loads(command.run("plan", "sweep.yaml", "--json").stdout)
    assert sorted(item["task"].split()[2] for item in planned) == ["b2", "bauto"]

    done = command.run("run", "sweep.yaml", "--results", "results")
    assert done.returncode == 0, done.stderr
    rows = read_rows(command.folder / "results")
    found = [row for row in rows if row["batch_size_rule"] == "auto"]
    given = [row for row in rows if row["batch_size_rule"] is None]
    assert [row["status"] in ("ok", "unstable") for row in rows] == 4 * [True]
    assert [row["batch_size"] for row in given] == [2, 2]
    (size,) = {row["batch_size"] for row in found}
    assert 20 <= size <= 28
    assert all(row["verified"] for row in found)
    assert {row["task_id"] for row in found} == {
        item["task_id"] for item in planned if "bauto" in item["task"]
    }

    report = command.run("report", "--results", "results")
    assert f"{MODEL} bauto={size}" in report.stdout
    resumed = command.run("run", "--resume", "last", "--results", "results")
    assert resumed.returncode == 0, resumed.stderr
    assert len(read_rows(command.folder / "results")) == len(rows)


def read_rows(results: Path) -> list[dict]:
    dataset = pyarrow.dataset.dataset(results / "tasks", partitioning="hive")
    return dataset.to_table().to_pylist()
