"""Keepalive pings of Ray: a driver never pings a cluster more often than the cluster permits."""

import os
import subprocess
import sys
from pathlib import Path

import pyarrow.dataset
import pytest

from velodrome.scheduler.fleet.cluster import find_variables
from velodrome.scheduler.fleet.embedded_ray import embedded_ray
from velodrome.scheduler.fleet.node_functions import KEEPALIVE, TooManyPings, read_inventory

# Longer than three pings of 2 s, after which Ray would close the connection.
LONG = """
name: long
frameworks: [numpy]
models: [autoencoder-400-200-100/ae1]
batch_sizes: {autoencoder-400-200-100/ae1: [4]}
threads: [1]
repeats: 1
timing: {target: 1%, min_samples: 6, min_seconds: 6, max_seconds: 7}
"""


def run(
    address: str, folder: Path, variables: dict[str, str]
) -> "subprocess.CompletedProcess[str]":
    (folder / "long.yaml").write_text(LONG)
    return subprocess.run(
        [sys.executable, "-m", "velodrome.scheduler.cli", "run", "long.yaml", "--address", address],
        cwd=folder,
        env={**os.environ, "VELODROME_PYTHON_NUMPY": sys.executable, **variables},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_a_driver_pings_no_more_often_than_its_user_says(tmp_path: Path) -> None:
    assert KEEPALIVE not in find_variables({}, tmp_path / "none")


def test_a_node_that_permits_fewer_pings_than_the_driver_sends_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(KEEPALIVE, raising=False)
    with pytest.raises(TooManyPings, match="is 2000 where you start velodrome and 300000 on"):
        read_inventory((), "2000")
    assert read_inventory((("pool", "lab"),), "").labels == (("pool", "lab"),)
    monkeypatch.setenv(KEEPALIVE, "2000")
    assert read_inventory((), "2000").cores
    assert read_inventory((), "").cores


@pytest.mark.full
@pytest.mark.slow
def test_a_long_task_survives_on_a_cluster_with_rays_own_settings(tmp_path: Path) -> None:
    with embedded_ray(1, 0) as started:
        done = run(started.address, tmp_path, dict(started.variables))
        rows = pyarrow.dataset.dataset(tmp_path / "results" / "tasks").to_table().to_pylist()
        refused = run(started.address, tmp_path, {**started.variables, KEEPALIVE: "2000"})
    assert done.returncode == 0, done.stdout + done.stderr
    assert [row["status"] in ("ok", "unstable") for row in rows] == [True]
    assert "Ray would lose every task" in refused.stdout + refused.stderr
