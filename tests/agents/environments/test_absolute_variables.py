"""Relative paths in variables become absolute for tools that run in other folders."""

from pathlib import Path

import pytest

from velodrome.agents.environments.absolute_variables import COLONS, SEPARATED, make_paths_absolute
from velodrome.agents.environments.store import EnvironmentStore


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", [*SEPARATED, "VELODROME_PYTHON_TORCH", "VELODROME_SOURCE_NEON"])
def test_a_relative_path_becomes_absolute_and_other_values_stay(name: str, here: Path) -> None:
    def make_absolute(value: str) -> str:
        return make_paths_absolute({name: value})[name]

    assert make_absolute("one") == str(here / "one")
    assert make_absolute("./two/../one") == f"{here}/two/../one"
    for other in ("", "/srv/x", "~/x"):
        assert make_absolute(other) == other
    if SEPARATED.get(name) != COLONS:
        assert make_absolute("https://m.example/simple") == "https://m.example/simple"
        assert make_absolute("file:///srv/x") == "file:///srv/x"


def test_each_of_several_paths_in_one_variable_becomes_absolute(here: Path) -> None:
    given = {
        "PIP_FIND_LINKS": "one https://m.example/w\n /srv  two",
        "UV_FIND_LINKS": "one,/srv,none",
        "LD_LIBRARY_PATH": "one:/srv:two",
        "PATH": "one:two",
    }
    assert make_paths_absolute(given) == {
        "PIP_FIND_LINKS": f"{here}/one https://m.example/w\n /srv  {here}/two",
        "UV_FIND_LINKS": f"{here}/one,/srv,none",  # so that an error shows it as typed
        "LD_LIBRARY_PATH": f"{here}/one:/srv:{here}/two",
        "PATH": "one:two",
    }


def test_a_folder_that_does_not_exist_yet_becomes_absolute_too(here: Path) -> None:
    assert make_paths_absolute({"UV_CACHE_DIR": "new"}) == {"UV_CACHE_DIR": str(here / "new")}


def test_values_stay_if_the_working_folder_was_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "gone"
    place.mkdir()
    monkeypatch.chdir(place)
    place.rmdir()
    assert make_paths_absolute({"PIP_CERT": "one"}) == {"PIP_CERT": "one"}
    monkeypatch.undo()


@pytest.mark.slow
@pytest.mark.parametrize(
    "variables",
    [
        {"PIP_FIND_LINKS": "wheels"},
        {"PIP_FIND_LINKS": "", "UV_FIND_LINKS": "./wheels", "UV_CACHE_DIR": "cache"},
        {"PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": "pip.conf"},
        {"PIP_CONSTRAINT": "none.txt", "PIP_REQUIREMENT": "none.txt"},  # neither is for a lock
    ],
)
def test_a_build_finds_what_pip_finds_by_a_relative_path(
    variables: dict[str, str], tiny_node, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny_node.wheels.parent
    monkeypatch.chdir(folder)
    (folder / "pip.conf").write_text("[global]\nfind-links = wheels\nno-index = true\n")
    tiny_node.variables.update(variables)
    environ = {name: value for name, value in tiny_node.environ.items() if value}
    built = EnvironmentStore(environ=environ).build("little")
    assert built.python.exists()
