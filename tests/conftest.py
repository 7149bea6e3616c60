"""Fixtures of every test: interpreters of frameworks, core locks, a fake GPU driver."""

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import xdist.remote
    import xdist.scheduler

sys.path.append(str(Path(__file__).parent))  # there is no package of tests

# As in a command (velodrome.scheduler.entry), before NumPy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from velodrome.adapters.registry import FRAMEWORKS
from velodrome.agents.environments.environment import Environment
from velodrome.agents.environments.store import EnvironmentStore, default_root

IN_MAKE_TEST = {"numpy", "torch", "tensorflow"}
FLEETS = "tests/fleet/"
FAKE_NVML = Path(__file__).parent / "fake_nvml" / "fake_nvml.c"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark a test `full` if a parameter of it names a framework that `make test` does not build.

    Fleets come first: they take minutes, of which they mostly wait.
    """
    for item in items:
        values = item.callspec.params.values() if hasattr(item, "callspec") else ()
        named = {value for value in values if isinstance(value, str)} & FRAMEWORKS.keys()
        if item.get_closest_marker("framework") and named - IN_MAKE_TEST:
            item.add_marker("full")
    items.sort(key=lambda item: not item.nodeid.startswith(FLEETS))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(
    config: pytest.Config, log: "xdist.remote.Producer"
) -> "xdist.scheduler.Scheduling | None":
    """Run each file in one worker, as `--dist=loadfile` does, and all fleets in the same one.

    Two heads of Ray that start at once, at one address in two networks, may both miss Ray's limit.
    """
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class FleetsTogether(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return FLEETS if nodeid.startswith(FLEETS) else super()._split_scope(nodeid)

    return FleetsTogether(config, log)


@pytest.fixture(scope="session")
def framework_environment(pytestconfig: pytest.Config) -> Callable[[str], Environment]:
    """The environment of a framework by its name, built on first use."""
    store = EnvironmentStore(default_root())
    without_full = "not full" in pytestconfig.getoption("markexpr")

    @functools.cache
    def environment(name: str) -> Environment:
        if without_full and name not in IN_MAKE_TEST:
            pytest.fail(f"`make test` builds no environment of {name}: mark this test `full`")
        return store.build(name, on_progress=print)

    return environment


@pytest.fixture(scope="session")
def fake_driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build a fake libnvidia-ml.so.1; return its folder. Its source lists its variables."""
    compiler = shutil.which("cc") or shutil.which("gcc") or pytest.skip("needs a C compiler")
    folder = tmp_path_factory.mktemp("driver")
    library = folder / "libnvidia-ml.so.1"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, FAKE_NVML], check=True)
    return folder


@pytest.fixture(scope="session", autouse=True)
def own_core_locks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep sweeps of this machine and tests from waiting for each other's cores.

    Tests that run in parallel share the locks, so that each task has a core of its own.
    """
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VELODROME_LOCKS", str(folder / "locks-of-cores"))
        (folder / "locks-of-cores").mkdir(mode=0o700, exist_ok=True)
        yield
