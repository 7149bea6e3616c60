"""What every test may ask for: the interpreter of a framework, and core locks of its own."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from velodrome.agents.environments.store import EnvironmentStore, default_root


@pytest.fixture(scope="session")
def framework_python() -> Callable[[str], Path]:
    """The interpreter of a framework by its name, its environment built on first use."""
    store = EnvironmentStore(default_root())

    def python(name: str) -> Path:
        return store.build(name, on_progress=print).python

    return python


@pytest.fixture(scope="session", autouse=True)
def own_core_locks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests wait for no sweep that happens to run on this machine, and none waits for them."""
    before = os.environ.get("VELODROME_LOCKS")
    os.environ["VELODROME_LOCKS"] = str(tmp_path_factory.mktemp("locks"))
    yield
    if before is None:
        del os.environ["VELODROME_LOCKS"]
    else:
        os.environ["VELODROME_LOCKS"] = before
