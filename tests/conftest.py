"""What every test may ask for: the interpreter of a framework, and core locks of its own."""

import functools
import os
from collections.abc import Callable, Iterator

import pytest

from velodrome.agents.environments.environment import Environment
from velodrome.agents.environments.store import EnvironmentStore, default_root


@pytest.fixture(scope="session")
def framework_environment() -> Callable[[str], Environment]:
    """The environment of a framework by its name, built on first use."""
    store = EnvironmentStore(default_root())
    return functools.cache(lambda name: store.build(name, on_progress=print))


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
