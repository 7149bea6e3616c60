"""A sweep on a cluster in which no node measures: the head coordinates and has no CPU for tasks."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from velodrome.scheduler.fleet.embedded_ray import embedded_ray

SWEEP = "name: tiny\nframeworks: [numpy]\nmodels: [lenet]\nthreads: [1]\n"


@pytest.mark.full
@pytest.mark.slow
def test_run_reports_that_the_cluster_has_no_node_and_exits_with_1(tmp_path: Path) -> None:
    (tmp_path / "sweep.yaml").write_text(SWEEP)
    with embedded_ray(0, 0) as started:
        words = ("run", "sweep.yaml", "--address", started.address)
        done = subprocess.run(
            [sys.executable, "-m", "velodrome.scheduler.cli", *words],
            cwd=tmp_path,
            env={**os.environ, **started.variables},
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
    assert done.returncode == 1, done.stderr
    lines = done.stdout.splitlines()
    assert f"{started.address} has no node that measures: start one with `ray start" in lines[1]
    assert ": no node fits any of its tasks; to resume: " in lines[2]
    assert "unplaceable: there is no node" in done.stdout
    assert "0 of 0" not in done.stdout
