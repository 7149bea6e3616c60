"""A lock is resolved from its requirements, without anything specific to this machine."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from velodrome.adapters.registry import FRAMEWORKS
from velodrome.agents.environments.failures import EnvironmentFailed
from velodrome.agents.environments.locking import blocks, renew, resolve
from velodrome.agents.environments.pip_configuration import read_sources
from velodrome.agents.environments.recipes import read_recipe

SRC = Path(__file__).parents[3] / "src"


def add_framework_with(node, requirement: str) -> str:
    """A framework that wants this; the text of its lock as it is now."""
    recipe = node.recipe.replace('"one.txt"', f'"one.txt", requirements = ["{requirement}"]')
    folder = node.add_framework("little", recipe, {"one.txt": "old==1.0\n"})
    return (folder / "locks" / "one.txt").read_text()


def test_a_lock_is_split_at_its_pins() -> None:
    marked = "b==2 ; python_full_version < '3.12'"
    text = f"a==1 \\\n    --hash=sha256:0\n{marked} \\\n    --hash=sha256:1\n"
    assert list(blocks(text)) == ["a==1", marked]
    assert "".join(blocks(text).values()) == text


@pytest.mark.slow
def test_a_lock_is_renewed_with_what_pip_finds(node) -> None:
    line = node.add_tiny("1.0+local")
    add_framework_with(node, "tiny==1.0+local")
    (path,) = renew("little", node.environ)
    assert path.read_text() == line
    assert node.store.build("little").size_bytes > 0


@pytest.mark.slow
def test_an_unavailable_requirement_leaves_the_lock_unchanged(node) -> None:
    before = add_framework_with(node, "tiny==7.0+local")
    with pytest.raises(EnvironmentFailed, match=r"one\.txt cannot be resolved"):
        renew("little", node.environ)
    assert (node.adapters / "little" / "locks" / "one.txt").read_text() == before


@pytest.mark.slow
def test_renewing_the_committed_lock_of_numpy_changes_nothing() -> None:
    (lock,) = read_recipe(Path(FRAMEWORKS["numpy"].folder)).locks
    text = resolve(lock, read_sources(), os.environ)
    assert set(blocks(text)) == set(blocks(lock.path.read_text()))


@pytest.mark.slow
def test_the_command_makes_a_first_lock_and_reports_errors(node) -> None:
    node.add_tiny("1.0+local")
    add_framework_with(node, "tiny==1.0+local")
    (node.adapters / "little" / "locks" / "one.txt").unlink()
    command = [sys.executable, "-m", "velodrome.scheduler.cli", "envs", "lock"]
    environ = {**node.environ, "PYTHONPATH": str(SRC)}
    done = subprocess.run([*command, "little"], env=environ, capture_output=True, text=True)
    assert done.returncode == 0 and "little/locks/one.txt" in done.stdout + done.stderr, done.stderr
    assert (node.adapters / "little" / "locks" / "one.txt").read_text()
    unknown = subprocess.run([*command, "litle"], env=environ, capture_output=True, text=True)
    assert unknown.returncode == 2 and "'little'" in unknown.stderr
    assert subprocess.run(command, env=environ, capture_output=True).returncode == 2
