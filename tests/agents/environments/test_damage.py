"""A built environment that is damaged is found out before anything runs in it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from velodrome.agents.environments.store import EnvironmentFailed
from velodrome.agents.execution import execute
from velodrome.agents.inventory import take_inventory
from velodrome.agents.measurement import Status
from velodrome.agents.task import Task

pytestmark = pytest.mark.slow


def delete_a_file(folder: Path, node) -> str:
    next(folder.rglob("tiny/__init__.py")).unlink()
    return "tiny/__init__.py is missing"


def install_another_version(folder: Path, node) -> str:
    node.add_tiny("20.0")
    uv = [sys.executable, "-m", "uv", "pip", "install", "-q", "--python", folder / "bin/python"]
    wheels = ["--no-index", "--find-links", node.wheels, "tiny==20.0"]
    subprocess.run([*uv, *wheels], check=True)
    return "tiny"


def drop_the_manifest(folder: Path, node) -> str:
    (folder / "velodrome-manifest.txt").unlink()
    return "velodrome-manifest.txt is missing"


@pytest.mark.parametrize("harm", [delete_a_file, install_another_version, drop_the_manifest])
def test_a_damaged_environment_is_never_used_and_is_rebuilt_on_request(
    tiny_node, monkeypatch, harm
) -> None:
    environment = tiny_node.store.build("little")
    what = harm(environment.folder, tiny_node)
    with pytest.raises(EnvironmentFailed) as raised:
        tiny_node.store.build("little")
    assert what in raised.value.reason
    assert "velodrome envs build --rebuild little" in raised.value.reason
    assert what in " ".join(tiny_node.store.check(environment).problems)

    monkeypatch.setenv("VELODROME_ADAPTERS", str(tiny_node.adapters))
    task = Task(framework="little", variant="default", model="lenet", batch_size=2)
    ended = execute(
        task,
        node=take_inventory(),
        repeat=0,
        attempt=1,
        environments=tiny_node.store,
        on_event=lambda event: None,
    )
    assert ended.status is Status.ENVIRONMENT_FAILED and what in ended.reason

    assert tiny_node.store.rebuild(environment) == environment
    assert tiny_node.store.build("little") == environment
    shutil.rmtree(tiny_node.wheels)
