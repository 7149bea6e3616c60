"""A built environment needs no network, and one that does is found out."""

import os
import socket
from pathlib import Path

import pytest

from velodrome.agents.environments.offline import without_network
from velodrome.agents.environments.store import EnvironmentFailed, EnvironmentStore
from velodrome.agents.environments.tool_runs import run_tool

# Computes as NumPy's adapter does, once it has reached a server on this very machine.
CALLS_HOME = """
import socket
from velodrome.adapters.frameworks.numpy import adapter

class Adapter(adapter.Adapter):
    def __init__(self, *arguments):
        with socket.create_connection(("127.0.0.1", {port}), timeout=10):
            super().__init__(*arguments)
"""
RECIPE = 'kind = "existing"\nabout = "a test"\npython = "{python}"\nvariants = ["float64"]\n'


@pytest.fixture
def needs_namespaces() -> None:
    try:
        without_network(os.environ)
    except EnvironmentFailed as failed:
        pytest.skip(failed.reason)


def add_network_user(node, python: Path, port: int) -> EnvironmentStore:
    folder = node.add_framework("caller", RECIPE.format(python=python), {})
    (folder / "adapter.py").write_text(CALLS_HOME.format(port=port))
    return node.store


@pytest.mark.slow
@pytest.mark.usefixtures("needs_namespaces")
def test_an_environment_that_computes_without_a_network_passes(numpy_store) -> None:
    environment = numpy_store.build("numpy")
    check = numpy_store.check_offline(environment)
    assert check.problems == ()
    assert check.framework_version
    assert not list(environment.cache_folder.glob("*.npz"))


@pytest.mark.slow
@pytest.mark.usefixtures("needs_namespaces")
def test_an_environment_that_uses_the_network_fails_only_the_offline_check(
    node, numpy_store
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        python = numpy_store.build("numpy").python
        store = add_network_user(node, python, server.getsockname()[1])
        environment = store.build("caller")
        assert store.check(environment).problems == ()
        (problem,) = store.check_offline(environment).problems
    assert "without a network" in problem and "unreachable" in problem


@pytest.mark.usefixtures("needs_namespaces")
def test_the_offline_check_has_no_loopback_interface(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        code = f"import socket; socket.create_connection(('127.0.0.1', {port}), timeout=5)"
        command = ["python3", "-c", code]
        outside = run_tool(command, environ=os.environ, cwd=tmp_path, deadline_s=20)
        prefix = without_network(os.environ)
        inside = run_tool([*prefix, *command], environ=os.environ, cwd=tmp_path, deadline_s=20)
    assert outside.ok and not inside.ok
    assert "unreachable" in inside.output


@pytest.mark.parametrize(
    ("program", "reason"), [(None, "no `unshare`"), ("echo no way >&2; exit 1", "no way")]
)
def test_an_offline_check_that_is_not_permitted_says_what_to_allow(
    tmp_path: Path, program: str | None, reason: str
) -> None:
    if program:
        (tmp_path / "unshare").write_text(f"#!/bin/sh\n{program}\n")
        (tmp_path / "unshare").chmod(0o755)
    with pytest.raises(EnvironmentFailed, match=reason) as raised:
        without_network({"PATH": str(tmp_path)})
    assert "user.max_user_namespaces" in raised.value.reason
