"""The committed locks, built for real, in the store that this machine's sweeps use too."""

import os
import subprocess
from pathlib import Path

import pytest

from velodrome.agents.environments.store import EnvironmentStore

COMPILE = """
import torch
double = torch.compile(lambda x: torch.sin(x) * 2)
assert torch.allclose(double(torch.ones(64)), torch.sin(torch.ones(64)) * 2)
"""
GRAPH = """
import tensorflow as tf
double = tf.function(lambda x: tf.sin(x) * 2)
assert float(tf.reduce_sum(double(tf.ones(64)) - tf.sin(tf.ones(64)) * 2)) == 0
"""


@pytest.mark.framework
@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("framework", "version", "work"),
    [
        ("torch", "2.13.0", COMPILE),
        pytest.param("tensorflow", "2.21.0", GRAPH, marks=pytest.mark.full),
    ],
)
def test_a_framework_works_and_writes_nothing_into_its_environment(
    framework: str, version: str, work: str, tmp_path: Path
) -> None:
    store = EnvironmentStore()
    environment = store.build(framework)
    environ = {**os.environ, **dict(environment.variables), "HOME": str(tmp_path)}
    subprocess.run([environment.python, "-c", work], env=environ, cwd=tmp_path, check=True)
    check = store.check(environment)
    assert check.problems == ()
    assert check.framework_version.startswith(version)
    # Bytecode is no problem to a check, but here even that must have been there before.
    listed = (environment.folder / "velodrome-manifest.txt").read_text()
    now = {str(path.relative_to(environment.folder)) for path in environment.folder.rglob("*.pyc")}
    assert now <= {line.split("  ", 1)[1] for line in listed.splitlines()}
