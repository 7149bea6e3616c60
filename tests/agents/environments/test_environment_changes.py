"""Files added to an environment after its build prevent a measurement."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from velodrome.adapters.protocol import Timing
from velodrome.adapters.registry import FRAMEWORKS
from velodrome.agents.environments import manifest
from velodrome.agents.environments.environment import Environment
from velodrome.agents.environments.existing import clean_environ
from velodrome.agents.environments.failures import EnvironmentFailed
from velodrome.agents.environments.import_path import import_path
from velodrome.agents.environments.store import EnvironmentStore
from velodrome.agents.execution import execute
from velodrome.agents.inventory import take_inventory
from velodrome.agents.measurement import Measurement, Status
from velodrome.agents.task import Limits, Task


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """A folder of two modules, a link and a .pth, with its manifest."""
    folder = tmp_path / "built"
    (folder / "site-packages").mkdir(parents=True)
    for name in ("one.py", "two.py", "known.pth"):
        (folder / "site-packages" / name).write_text(f"# {name}\n")
    (folder / "lib").symlink_to("site-packages")
    manifest.write(folder, manifest.scan(folder))
    return folder


def add_a_pth(folder: Path) -> str:
    (folder / "site-packages/evil.pth").write_text("import os\n")
    return "site-packages/evil.pth was added"


def add_a_sitecustomize(folder: Path) -> str:
    (folder / "site-packages/sitecustomize.py").write_text("")
    return "site-packages/sitecustomize.py was added"


def add_bytecode(folder: Path) -> str:
    (folder / "site-packages/__pycache__").mkdir()
    (folder / "site-packages/__pycache__/one.cpython-312.pyc").write_bytes(b"")
    return "site-packages/__pycache__/one.cpython-312.pyc was added"


def change_a_module_as_long_and_as_old(folder: Path) -> str:
    module = folder / "site-packages/two.py"
    before = module.stat()
    module.write_text("# TWO.py\n")
    os.utime(module, ns=(before.st_atime_ns, before.st_mtime_ns))
    return "site-packages/two.py was changed"


def change_a_pth(folder: Path) -> str:
    (folder / "site-packages/known.pth").write_text("import os, sys\n")
    return "site-packages/known.pth was changed"


def turn_a_link(folder: Path) -> str:
    (folder / "lib").unlink()
    (folder / "lib").symlink_to("/tmp")
    return "lib was changed"


def remove_a_module(folder: Path) -> str:
    (folder / "site-packages/one.py").unlink()
    return "site-packages/one.py is missing"


HARMS = [
    add_a_pth,
    add_a_sitecustomize,
    add_bytecode,
    change_a_module_as_long_and_as_old,
    change_a_pth,
    turn_a_link,
    remove_a_module,
]


@pytest.mark.parametrize("harm", HARMS)
def test_each_change_to_an_environment_is_named(built: Path, harm: Callable[[Path], str]) -> None:
    assert manifest.find_change(built) == ""
    change = harm(built)
    assert manifest.find_change(built) == change


def test_a_touched_file_with_the_same_content_is_no_change(built: Path) -> None:
    (built.parent / "link").hardlink_to(built / "site-packages/one.py")
    (built / "site-packages/two.py").touch()
    assert manifest.find_change(built) == ""


def test_a_file_beside_the_link_to_velodrome_is_refused(tmp_path: Path) -> None:
    framework = FRAMEWORKS["numpy"]
    folder = Path(import_path(tmp_path, framework))
    (folder / "sitecustomize.py").write_text("")
    with pytest.raises(EnvironmentFailed, match=r"sitecustomize.py would be imported by every"):
        import_path(tmp_path, framework)


def test_no_python_variable_reaches_an_inspected_interpreter() -> None:
    inherited = {"PYTHONPATH": "x", "PYTHONHOME": "x", "PYTHONUSERBASE": "x", "PATH": "/bin"}
    assert clean_environ(inherited) == {"PATH": "/bin", "PYTHONNOUSERSITE": "1"}


def run(store: EnvironmentStore) -> Measurement:
    timing = Timing(target=0.9, min_samples=3, min_seconds=0.0, max_seconds=0.5)
    task = Task("numpy", "float64", "canary", 2, timing=timing, limits=Limits(deadline_s=60))
    return execute(
        task,
        node=take_inventory("this"),
        repeat=0,
        attempt=1,
        environments=store,
        on_event=lambda event: None,
    )


@pytest.mark.slow
@pytest.mark.framework
def test_a_task_does_not_run_in_an_environment_with_added_files(
    numpy_store: EnvironmentStore,
) -> None:
    environment = numpy_store.find("numpy")
    assert isinstance(environment, Environment)
    assert run(numpy_store).status.has_number
    (module,) = environment.folder.rglob("site-packages/numpy/__init__.py")
    added = module.parents[1] / "evil.pth"
    added.write_text("import sys\n")
    try:
        ended = run(numpy_store)
    finally:
        added.unlink()
    assert ended.status is Status.ENVIRONMENT_FAILED
    assert "site-packages/evil.pth was added" in ended.reason
    assert "`velodrome envs build --rebuild numpy`" in ended.reason
    assert run(numpy_store).status.has_number


@pytest.mark.slow
def test_the_shells_python_variables_do_not_affect_a_measurement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evil = tmp_path / "evil"
    site = evil / f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
    site.mkdir(parents=True)
    for folder in (evil, site):
        (folder / "usercustomize.py").write_text("raise SystemExit('usercustomize ran')\n")
        (folder / "sitecustomize.py").write_text("raise SystemExit('sitecustomize ran')\n")
    monkeypatch.setenv("VELODROME_PYTHON_NUMPY", sys.executable)
    monkeypatch.setenv("PYTHONPATH", str(evil))
    monkeypatch.setenv("PYTHONUSERBASE", str(evil))
    monkeypatch.setenv("PYTHONOPTIMIZE", "2")
    ended = run(EnvironmentStore(tmp_path / "home/envs"))
    assert ended.status.has_number, ended.reason
