"""A shared library that nothing carries and nothing calls is made where it is needed."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from velodrome.agents.environments.environment import Environment
from velodrome.agents.environments.failures import EnvironmentFailed
from velodrome.agents.environments.recipes import RecipeError, StubLibrary, read_recipe
from velodrome.agents.environments.stub_libraries import install_stub_libraries

LIBRARIES = """
[[libraries]]
file = "libghost.so.1"
into = "tiny"
symbols = ["ghost_walks"]
"""
LIBRARY = StubLibrary(file="libghost.so.1", into="tiny", symbols=("ghost_walks",))


def write_recipe(node, text: str = LIBRARIES) -> Path:
    return node.add_framework("little", node.recipe + text, {"one.txt": node.add_tiny()})


def run_code(environment: Environment, code: str) -> int:
    script = f"import ctypes, os, tiny; os.chdir(tiny.__path__[0]); {code}"
    return subprocess.run([str(environment.python), "-c", script], check=False).returncode


def test_a_stub_library_loads_and_ends_any_process_that_calls_it(node) -> None:
    write_recipe(node)
    environment = node.store.build("little")
    load = "lib = ctypes.CDLL('./libghost.so.1'); lib.ghost_walks"
    assert run_code(environment, load) == 0
    assert run_code(environment, f"{load}()") == -signal.SIGABRT


def test_another_symbol_makes_another_environment(node) -> None:
    first = read_recipe(write_recipe(node)).lock_hash("cpu")
    assert read_recipe(write_recipe(node)).lock_hash("cpu") == first
    more = LIBRARIES.replace('["ghost_walks"]', '["ghost_walks", "ghost_sings"]')
    assert read_recipe(write_recipe(node, more)).lock_hash("cpu") != first


def test_a_mistyped_key_is_reported(node) -> None:
    with pytest.raises(RecipeError, match="Did you mean 'symbols'"):
        read_recipe(write_recipe(node, LIBRARIES.replace("symbols", "symbol")))


def test_without_a_compiler_the_error_says_what_to_install(tmp_path) -> None:
    with pytest.raises(
        EnvironmentFailed, match=r"which libghost.so.1 needs. Install gcc, or set CC to one"
    ):
        install_stub_libraries([LIBRARY], tmp_path, {"PATH": str(tmp_path)})


def test_a_failing_compiler_is_named_with_its_output(tmp_path) -> None:
    (tmp_path / "tiny").mkdir()
    broken = StubLibrary(file="libghost.so.1", into="tiny", symbols=("1st",))
    with pytest.raises(EnvironmentFailed, match="cannot compile libghost") as raised:
        install_stub_libraries([broken], tmp_path, os.environ)
    assert "error" in raised.value.log_tail
