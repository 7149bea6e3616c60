"""Interpreters are found where people keep them, and only those that really run."""

import os
import sys
from pathlib import Path

import pytest

from velodrome.agents.environments.failures import EnvironmentFailed
from velodrome.agents.environments.interpreters import find_interpreter, obtain_interpreter, probe

MINOR = f"{sys.version_info[0]}.{sys.version_info[1]}"
OTHER = "3.94"  # no such Python; a script below pretends


def make_empty_node(tmp_path: Path) -> dict[str, str]:
    """A node with no interpreter but the one that runs this test."""
    return {"HOME": str(tmp_path), "PATH": str(tmp_path / "bin")}


def add_interpreter(
    path: Path, version: str, *, headers: bool = False, implementation: str = "cpython"
):
    """A program that answers like an interpreter of that version."""
    path.parent.mkdir(parents=True, exist_ok=True)
    answer = f'["{path}", "{version}", "{implementation}", {str(headers).lower()}]'
    path.write_text(f"#!/bin/sh\necho '{answer}'\n")
    path.chmod(0o755)
    return path


def add_broken_interpreter(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\necho 'command not found' >&2\nexit 127\n")
    path.chmod(0o755)
    return path


def test_velodromes_own_interpreter_is_found_even_on_an_empty_path(tmp_path: Path) -> None:
    found = find_interpreter([MINOR], make_empty_node(tmp_path))
    assert found and found.minor == MINOR and found.source == "velodrome"
    assert found.path.resolve() == Path(sys.executable).resolve()


def test_an_interpreter_of_pyenv_is_found_behind_its_shims(tmp_path: Path) -> None:
    real = add_interpreter(tmp_path / ".pyenv/versions/3.94.1/bin/python", "3.94.1")
    shim = add_broken_interpreter(tmp_path / ".pyenv/shims/python3.94")
    environ = {**make_empty_node(tmp_path), "PATH": str(shim.parent)}
    found = find_interpreter([OTHER], environ)
    assert found and found.path == real and found.source == "pyenv"


def test_pyenvs_newest_patch_is_taken(tmp_path: Path) -> None:
    add_interpreter(tmp_path / ".pyenv/versions/3.94.9/bin/python", "3.94.9")
    add_interpreter(tmp_path / ".pyenv/versions/3.94.10/bin/python", "3.94.10")
    found = find_interpreter([OTHER], make_empty_node(tmp_path))
    assert found and found.version == "3.94.10"


def test_pyenv_is_found_by_its_shims_where_home_is_another(tmp_path: Path) -> None:
    real = add_interpreter(tmp_path / "there/versions/3.94.1/bin/python", "3.94.1")
    add_broken_interpreter(tmp_path / "there/shims/python3.94")
    environ = {**make_empty_node(tmp_path), "PATH": str(tmp_path / "there/shims")}
    found = find_interpreter([OTHER], environ)
    assert found and found.path == real and found.source == "pyenv"


def test_pyenv_root_is_followed(tmp_path: Path) -> None:
    real = add_interpreter(tmp_path / "there/versions/3.94.1/bin/python", "3.94.1")
    found = find_interpreter(
        [OTHER], {**make_empty_node(tmp_path), "PYENV_ROOT": str(tmp_path / "there")}
    )
    assert found and found.path == real


def test_an_interpreter_that_uv_downloaded_is_found(tmp_path: Path) -> None:
    name = "cpython-3.94.2-linux-x86_64-gnu"
    add_interpreter(tmp_path / f".local/share/uv/python/{name}/bin/python3.94", "3.94.2")
    found = find_interpreter([OTHER], make_empty_node(tmp_path))
    assert found and found.source == "uv"


def test_an_interpreter_on_path_is_found_by_its_plain_name_too(tmp_path: Path) -> None:
    add_interpreter(tmp_path / "bin/python3", "3.94.3")
    found = find_interpreter([OTHER], make_empty_node(tmp_path))
    assert found and found.source == "PATH"


def test_the_recipes_order_wins_over_the_place(tmp_path: Path) -> None:
    add_interpreter(tmp_path / ".pyenv/versions/3.94.1/bin/python", "3.94.1")
    add_interpreter(tmp_path / "bin/python3.95", "3.95.0")
    found = find_interpreter(["3.95", "3.94"], make_empty_node(tmp_path))
    assert found and found.version == "3.95.0"


def test_an_interpreter_with_headers_is_preferred(tmp_path: Path) -> None:
    add_interpreter(tmp_path / ".pyenv/versions/3.94.1/bin/python", "3.94.1")
    add_interpreter(tmp_path / "bin/python3.94", "3.94.0", headers=True)
    found = find_interpreter([OTHER], make_empty_node(tmp_path))
    assert found and found.has_headers and found.version == "3.94.0"


def test_an_interpreter_that_does_not_run_is_skipped(tmp_path: Path) -> None:
    add_broken_interpreter(tmp_path / ".pyenv/versions/3.94.7/bin/python")
    add_interpreter(tmp_path / "bin/python3.94", "3.94.0")
    found = find_interpreter([OTHER], make_empty_node(tmp_path))
    assert found and found.version == "3.94.0"


def test_an_interpreter_of_another_version_than_its_name_is_skipped(tmp_path: Path) -> None:
    add_interpreter(tmp_path / "bin/python3.94", "3.6.1")
    assert find_interpreter([OTHER], make_empty_node(tmp_path)) is None


def test_pypy_is_not_used_as_cpython(tmp_path: Path) -> None:
    path = add_interpreter(tmp_path / "bin/python3.94", "3.94.0", implementation="pypy")
    assert probe(path, "PATH", os.environ) is None


@pytest.mark.slow
def test_a_missing_interpreter_is_reported_with_the_places_searched_and_the_remedy(
    tmp_path: Path,
) -> None:
    lines: list[str] = []
    with pytest.raises(EnvironmentFailed) as raised:
        obtain_interpreter(["3.94", "3.95"], make_empty_node(tmp_path), lines.append)
    reason = raised.value.reason
    assert "no Python 3.94 or 3.95" in reason
    assert str(tmp_path / ".pyenv") in reason and "PATH" in reason
    assert "pyenv install 3.94" in reason
    assert "3.94" in raised.value.log_tail
    assert "downloading 3.94" in lines[0]
