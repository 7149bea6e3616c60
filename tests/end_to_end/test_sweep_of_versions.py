"""A framework at two versions in one sweep, which keeps the lock of the uncommitted version."""

import shutil

import pyarrow.dataset
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.framework]

SWEEP = """
name: versions
frameworks: [numpy==2.3.1, numpy]
models: [autoencoder-400-200-100/ae1]
batch_sizes: {autoencoder-400-200-100/ae1: [4]}
threads: [1]
repeats: 1
timing: {target: 50%, min_samples: 3, min_seconds: 0, max_seconds: 1}
"""


@pytest.mark.full
def test_versions_run_side_by_side_and_a_resumed_sweep_keeps_the_lock(command, shared_home) -> None:
    command.sweep(SWEEP, "versions.yaml")
    done = command.run("run", "versions.yaml", "--results", "versions")
    assert done.returncode == 0, done.stdout + done.stderr
    results = command.folder / "versions"
    dataset = pyarrow.dataset.dataset(results / "tasks", partitioning="hive")
    rows = {row["framework"]: row for row in dataset.to_table().to_pylist()}
    assert set(rows) == {"numpy==2.3.1", "numpy"}
    assert rows["numpy==2.3.1"]["framework_version"] == "2.3.1"
    assert rows["numpy"]["framework_version"] != "2.3.1"
    assert rows["numpy==2.3.1"]["environment_hash"] != rows["numpy"]["environment_hash"]
    assert "velodrome measure numpy==2.3.1 " in rows["numpy==2.3.1"]["rerun"]

    (kept,) = (results / "_sweeps").glob("*/locks/numpy==2.3.1/*/universal.txt")
    text = kept.read_text()
    assert text.startswith("numpy==2.3.1") and "--hash=sha256:" in text and "://" not in text

    shutil.rmtree(shared_home / "locks")  # as on a driver that never heard of this version
    again = command.run("run", "--resume", "last", "--results", "versions")
    assert again.returncode == 0, again.stderr
    assert "0 of 2 runs to do" in again.stdout
