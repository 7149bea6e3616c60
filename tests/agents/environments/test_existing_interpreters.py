"""An interpreter that the user points at stands in for an environment that is built."""

import subprocess
import sys
from pathlib import Path

import pytest

from velodrome.agents.environments.store import EnvironmentFailed, EnvironmentStore


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    """The interpreter of an empty virtual environment."""
    subprocess.run([sys.executable, "-m", "uv", "venv", "-q", tmp_path / "venv"], check=True)
    return tmp_path / "venv" / "bin" / "python"


def install(python: Path, node, version: str) -> None:
    node.add_tiny(version)
    uv = [sys.executable, "-m", "uv", "pip", "install", "-q", "--python", python]
    wheels = ["--no-index", "--find-links", node.wheels, f"tiny=={version}"]
    subprocess.run([*uv, *wheels], check=True)


def test_a_variable_makes_any_framework_use_an_existing_interpreter(tiny_node, venv: Path) -> None:
    tiny_node.variables["VELODROME_PYTHON_LITTLE"] = str(venv)
    found = tiny_node.store.find("little")
    assert found and found.kind == "existing" and found.lock is None
    assert found.python == venv and found.folder == venv.parent.parent
    assert tiny_node.store.build("little") == found
    assert tiny_node.store.build("little", "gpu") == found
    assert tiny_node.store.list() == (found,)
    assert tiny_node.store.is_current(found)


def test_a_dash_in_a_name_is_an_underscore_in_the_variable(node, venv: Path) -> None:
    node.add_framework("my-net", node.recipe, {"one.txt": node.add_tiny()})
    node.variables["VELODROME_PYTHON_MY_NET"] = str(venv)
    assert node.store.build("my-net").python == venv


def test_an_existing_interpreter_gets_the_recipes_variables_and_cache(
    tiny_node, venv: Path
) -> None:
    tiny_node.variables["VELODROME_PYTHON_LITTLE"] = str(venv)
    environment = tiny_node.store.build("little")
    assert environment.variables == (("TINY_CACHE", f"{environment.cache_folder}/kernels"),)
    assert environment.cache_folder.is_dir()


def test_another_interpreter_makes_another_task(tiny_node) -> None:
    locked = tiny_node.store.lock_hash("little")
    tiny_node.variables["VELODROME_PYTHON_LITTLE"] = "/one/python"
    one = tiny_node.store.lock_hash("little")
    tiny_node.variables["VELODROME_PYTHON_LITTLE"] = "/other/python"
    assert len({locked, one, tiny_node.store.lock_hash("little")}) == 3


@pytest.mark.slow
def test_the_hash_changes_with_the_installed_packages(tiny_node, venv: Path) -> None:
    tiny_node.variables["VELODROME_PYTHON_LITTLE"] = str(venv)
    empty = tiny_node.store.build("little")
    install(venv, tiny_node, "1.0")
    first = tiny_node.store.build("little")
    install(venv, tiny_node, "2.0")
    second = tiny_node.store.build("little")
    assert len({empty.hash, first.hash, second.hash}) == 3
    problems = tiny_node.store.check(first).problems
    assert f"their hash is now {second.hash}" in problems[0]


@pytest.mark.parametrize(
    ("program", "problem"),
    [
        (None, "which is not an interpreter"),
        ("#!/bin/sh\necho hello\n", "which is not a Python interpreter"),
        ("#!/bin/sh\necho broken >&2; exit 1\n", "which does not run"),
        ("not even a program", "which is not a Python interpreter"),
    ],
)
def test_a_path_that_is_no_interpreter_is_reported_with_the_variable(
    tiny_node, tmp_path, program, problem
) -> None:
    python = tmp_path / "python"
    if program is not None:
        python.write_text(program)
        python.chmod(0o755)
    tiny_node.variables["VELODROME_PYTHON_LITTLE"] = str(python)
    with pytest.raises(EnvironmentFailed) as raised:
        tiny_node.store.build("little")
    assert f"VELODROME_PYTHON_LITTLE names {python}, {problem}" in raised.value.reason


def test_a_folder_suggests_the_interpreter_in_it(tiny_node, venv: Path) -> None:
    tiny_node.variables["VELODROME_PYTHON_LITTLE"] = str(venv.parent.parent)
    assert tiny_node.store.find("little") is None
    with pytest.raises(EnvironmentFailed, match="name its bin/python"):
        tiny_node.store.build("little")


def test_a_recipe_may_name_an_interpreter_of_its_own_folder(node, venv: Path) -> None:
    folder = node.add_framework("mine", "", {})
    (folder / "venv").symlink_to(venv.parent.parent)
    text = 'kind = "existing"\nabout = "mine"\npython = "venv/bin/python"\n'
    (folder / "environment.toml").write_text(text)
    environment = node.store.build("mine")
    assert environment.kind == "existing" and environment.python == folder / "venv/bin/python"


def test_an_existing_interpreter_cannot_be_rebuilt(tiny_node, venv: Path) -> None:
    tiny_node.variables["VELODROME_PYTHON_LITTLE"] = str(venv)
    environment = tiny_node.store.build("little")
    with pytest.raises(EnvironmentFailed, match="your own interpreter"):
        tiny_node.store.rebuild(environment)


@pytest.mark.slow
def test_prune_keeps_an_existing_interpreter(numpy_store: EnvironmentStore, tiny_node) -> None:
    python = numpy_store.build("numpy").python
    tiny_node.variables["VELODROME_PYTHON_LITTLE"] = str(python)
    tiny_node.store.build("little")
    assert tiny_node.store.prune() == ()
    assert python.exists()
