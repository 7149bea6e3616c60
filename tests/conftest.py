"""What every test may ask for: a framework's interpreter, core locks of its own, GPUs made up."""

import functools
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from velodrome.agents.environments.environment import Environment
from velodrome.agents.environments.store import EnvironmentStore, default_root

FAKE_NVML = Path(__file__).parent / "fake_nvml" / "fake_nvml.c"


@pytest.fixture(scope="session")
def framework_environment() -> Callable[[str], Environment]:
    """The environment of a framework by its name, built on first use."""
    store = EnvironmentStore(default_root())
    return functools.cache(lambda name: store.build(name, on_progress=print))


@pytest.fixture(scope="session")
def fake_driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a libnvidia-ml.so.1 for LD_LIBRARY_PATH; see its source for how it is told."""
    compiler = shutil.which("cc") or shutil.which("gcc") or pytest.skip("needs a C compiler")
    folder = tmp_path_factory.mktemp("driver")
    library = folder / "libnvidia-ml.so.1"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, FAKE_NVML], check=True)
    return folder


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
