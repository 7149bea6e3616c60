"""Building, finding, checking, rebuilding and pruning environments."""

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from velodrome.agents.environments.recipes import RecipeError
from velodrome.agents.environments.store import EnvironmentFailed, EnvironmentStore, default_root

SRC = Path(__file__).parents[3] / "src"


def lines_of(build) -> list[str]:
    lines: list[str] = []
    build(lines.append)
    return lines


def test_the_root_follows_the_users_variable(tmp_path: Path) -> None:
    assert default_root({"VELODROME_HOME": str(tmp_path)}) == tmp_path / "envs"
    assert default_root({}).name == "envs" and default_root({}).is_absolute()


def test_before_a_build_nothing_is_found_and_nothing_created(tiny_node) -> None:
    assert tiny_node.store.find("little") is None
    assert tiny_node.store.list() == ()
    assert not tiny_node.home.exists()


def test_a_frameworks_lock_hash_needs_no_environment_and_differs_by_device(tiny_node) -> None:
    store = tiny_node.store
    assert store.lock_hash("little") == tiny_node.store.lock_hash("little")
    assert store.lock_hash("torch", "cpu") != store.lock_hash("torch", "gpu")
    assert store.lock_hash("torch") != store.lock_hash("tensorflow")
    assert not tiny_node.home.exists()


def test_an_unknown_framework_suggests_the_nearest(tiny_node) -> None:
    with pytest.raises(RecipeError, match="Did you mean 'little'"):
        tiny_node.store.build("litle")


def test_a_device_without_a_lock_is_reported_with_the_remedy(tiny_node) -> None:
    with pytest.raises(EnvironmentFailed, match=r"no lock for gpu .* VELODROME_PYTHON_LITTLE"):
        tiny_node.store.build("little", "gpu")


@pytest.mark.slow
def test_an_environment_is_built_from_a_folder_of_wheels_without_an_index(tiny_node) -> None:
    environment = tiny_node.store.build("little")
    code = "import tiny, sys; print(tiny.VERSION, sys.prefix)"
    run = subprocess.run([environment.python, "-c", code], capture_output=True, text=True)
    assert run.stdout.split() == ["1.0", str(environment.folder)]
    assert environment.folder == tiny_node.home / "envs" / environment.name
    assert tiny_node.store.list() == (environment,)
    assert environment.size_bytes > 0


@pytest.mark.slow
def test_a_second_build_returns_the_first_and_runs_nothing(tiny_node) -> None:
    first = tiny_node.store.build("little")
    shutil.rmtree(tiny_node.wheels)
    assert lines_of(lambda tell: tiny_node.store.build("little", on_progress=tell)) == []
    assert tiny_node.store.find("little") == first


@pytest.mark.slow
def test_only_the_user_can_read_an_environment(tiny_node) -> None:
    environment = tiny_node.store.build("little")
    for folder in (environment.folder, environment.folder.parent, environment.cache_folder):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.slow
def test_variables_name_a_writable_folder_outside_the_environment(tiny_node) -> None:
    environment = tiny_node.store.build("little")
    assert environment.variables == (("TINY_CACHE", f"{environment.cache_folder}/kernels"),)
    assert environment.cache_folder.is_dir()
    assert environment.cache_folder == tiny_node.home / "caches" / environment.name


@pytest.mark.slow
def test_a_new_lock_gives_a_new_environment_beside_the_old_one(tiny_node) -> None:
    old = tiny_node.store.build("little")
    lock_hash = tiny_node.store.lock_hash("little")
    tiny_node.add_framework("little", tiny_node.recipe, {"one.txt": tiny_node.add_tiny("2.0")})
    assert tiny_node.store.find("little") is None
    assert tiny_node.store.lock_hash("little") != lock_hash
    new = tiny_node.store.build("little")
    assert new.hash != old.hash
    assert set(tiny_node.store.list()) == {old, new} and old.folder.is_dir()
    assert not tiny_node.store.is_current(old) and tiny_node.store.is_current(new)


@pytest.mark.slow
def test_prune_removes_environments_that_no_lock_names_and_their_caches(tiny_node) -> None:
    old = tiny_node.store.build("little")
    tiny_node.add_framework("little", tiny_node.recipe, {"one.txt": tiny_node.add_tiny("2.0")})
    new = tiny_node.store.build("little")
    assert tiny_node.store.prune() == (old.name,)
    assert tiny_node.store.list() == (new,)
    assert not old.folder.exists() and not old.cache_folder.exists()
    assert tiny_node.store.prune() == ()


@pytest.mark.slow
def test_prune_keeps_an_environment_in_use(tiny_node) -> None:
    old = tiny_node.store.build("little")
    tiny_node.add_framework("little", tiny_node.recipe, {"one.txt": tiny_node.add_tiny("2.0")})
    command = [str(old.python), "-c", "print('here', flush=True); input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        assert running.stdout and running.stdout.readline() == b"here\n"
        assert tiny_node.store.prune() == ()
        running.communicate(b"\n")
    assert tiny_node.store.prune() == (old.name,)


@pytest.mark.slow
def test_prune_removes_the_rest_of_a_dead_build_but_no_running_build(tiny_node) -> None:
    envs = tiny_node.home / "envs"
    left = envs / ".building.little.0123456789ab"
    (left / "lib").mkdir(parents=True)
    holder = "import sys; from velodrome.agents.environments.disk_layout import *\n"
    holder += "with lock_framework(Path(sys.argv[1]), 'little', print):\n"
    holder += "    print('held', flush=True); input()"
    (envs / ".locks").mkdir()
    command = [sys.executable, "-c", holder, str(envs)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as building:
        assert building.stdout and building.stdout.readline() == b"held\n"
        assert tiny_node.store.prune() == () and left.is_dir()
        building.communicate(b"\n")
    assert tiny_node.store.prune() == (left.name,) and not left.exists()


@pytest.mark.slow
def test_an_environment_without_its_interpreter_is_built_again(tiny_node) -> None:
    environment = tiny_node.store.build("little")
    environment.python.unlink()
    environment.python.symlink_to("/nowhere/python3")
    assert tiny_node.store.find("little") is None
    assert tiny_node.store.build("little") == environment
    assert environment.python.exists()


@pytest.mark.slow
def test_rebuild_replaces_a_damaged_environment(tiny_node) -> None:
    environment = tiny_node.store.build("little")
    module = next(environment.folder.rglob("tiny/__init__.py"))
    module.write_text("VERSION = 'damaged'\n")
    assert tiny_node.store.rebuild(environment) == environment
    assert module.read_text() == "VERSION = '1.0'\n"
    assert not list(environment.folder.parent.glob(".[br]*ing.*"))


@pytest.mark.slow
def test_a_change_in_uvs_cache_reaches_no_environment_undetected(tiny_node) -> None:
    environment = tiny_node.store.build("little")
    for cached in (tiny_node.home / "uv").rglob("tiny/__init__.py"):
        cached.write_text("VERSION = 'poisoned'\n")
    module = next(environment.folder.rglob("tiny/__init__.py"))
    assert module.read_text() == "VERSION = '1.0'\n"
    with pytest.raises(
        EnvironmentFailed, match=r"uv's cache has a changed copy of .*tiny/__init__.py"
    ):
        tiny_node.store.rebuild(environment)
    assert module.read_text() == "VERSION = '1.0'\n"


@pytest.mark.slow
def test_an_outdated_environment_cannot_be_rebuilt_and_the_error_says_what_to_do(
    tiny_node,
) -> None:
    old = tiny_node.store.build("little")
    tiny_node.add_framework("little", tiny_node.recipe, {"one.txt": tiny_node.add_tiny("2.0")})
    with pytest.raises(EnvironmentFailed, match=r"envs prune.*envs build little"):
        tiny_node.store.rebuild(old)


def failure(node, framework: str = "little") -> EnvironmentFailed:
    """The failure of a build that must leave nothing behind."""
    with pytest.raises(EnvironmentFailed) as raised:
        node.store.build(framework)
    assert node.store.find(framework) is None
    assert [path.name for path in (node.home / "envs").iterdir()] == [".locks"]
    assert "\n" not in raised.value.reason
    return raised.value


@pytest.mark.slow
def test_an_unavailable_package_is_named_with_the_remedy(tiny_node) -> None:
    shutil.rmtree(tiny_node.wheels)
    tiny_node.wheels.mkdir()
    failed = failure(tiny_node)
    assert "tiny==1.0, which little needs, is in no index or folder" in failed.reason
    assert "pip config list" in failed.reason
    assert "No solution found" in failed.log_tail


@pytest.mark.slow
def test_a_wheel_whose_hash_differs_from_the_lock_is_refused(tiny_node) -> None:
    tiny_node.add_tiny(more=b"")  # the same version, other bytes
    assert "tiny==1.0 has another hash than" in failure(tiny_node).reason


@pytest.mark.slow
def test_an_unreachable_index_is_not_a_missing_package(tiny_node) -> None:
    # Port 9 of this machine has no listener and refuses at once.
    tiny_node.variables.update(PIP_NO_INDEX="0", PIP_INDEX_URL="http://127.0.0.1:9/simple")
    tiny_node.variables.update(UV_HTTP_RETRIES="0", PIP_FIND_LINKS="")
    failed = failure(tiny_node)
    assert "could not be downloaded" in failed.reason and "Check the network" in failed.reason


@pytest.mark.slow
def test_an_installed_framework_that_cannot_be_imported_is_no_environment(node) -> None:
    lock = node.add_tiny(broken=b"raise RuntimeError('no AVX here')\n")
    recipe = node.recipe.replace('module = "tiny"', 'module = "tiny.broken"')
    node.add_framework("little", recipe, {"one.txt": lock})
    failed = failure(node)
    assert "`import tiny.broken` fails: RuntimeError: no AVX here" in failed.reason
    assert "Traceback" in failed.log_tail


@pytest.mark.slow
def test_an_environment_that_does_not_fit_is_not_started(node) -> None:
    recipe = node.recipe.replace('file = "one.txt"', 'file = "one.txt", size_mb = 999999999')
    node.add_framework("little", recipe, {"one.txt": node.add_tiny()})
    assert "needs 999999999 MB" in failure(node).reason


TWO_LOCKS = """
kind = "uv"
about = "a test"
module = "tiny"
python = ["{minor}"]

[[locks]]
file = "small.txt"
devices = ["cpu"]
mend = "add the folder of small wheels"

[[locks]]
file = "large.txt"
devices = ["cpu"]
download_mb = 2760
"""


def node_with_two_locks(node):
    """The first lock's wheel is put aside: it is not to be found."""
    minor = f"{sys.version_info[0]}.{sys.version_info[1]}"
    locks = {"large.txt": node.add_tiny("1.0"), "small.txt": node.add_tiny("1.0+cpu")}
    node.add_framework("little", TWO_LOCKS.format(minor=minor), locks)
    aside = node.wheels.parent / "aside"
    aside.mkdir()
    for wheel in node.wheels.glob("*+cpu*"):
        wheel.rename(aside / wheel.name)
    return aside


@pytest.mark.slow
def test_the_next_lock_is_used_if_a_package_of_the_first_is_unavailable(node) -> None:
    node_with_two_locks(node)
    lines: list[str] = []
    environment = node.store.build("little", on_progress=lines.append)
    assert environment.lock and environment.lock.name == "large.txt"
    message = next(line for line in lines if "was not found" in line)
    assert "tiny==1.0+cpu" in message and "large.txt" in message and "2760 MB" in message
    assert "add the folder of small wheels" in message


@pytest.mark.slow
def test_the_first_lock_is_tried_again_after_a_change_of_pips_configuration(node) -> None:
    aside = node_with_two_locks(node)
    large = node.store.build("little")
    assert lines_of(lambda tell: node.store.build("little", on_progress=tell)) == []
    node.variables["PIP_FIND_LINKS"] = f"{node.wheels} {node.adapters}"  # changed, to no avail
    assert node.store.build("little") == large
    assert lines_of(lambda tell: node.store.build("little", on_progress=tell)) == []
    node.variables["PIP_FIND_LINKS"] = f"{node.wheels} {aside}"
    small = node.store.build("little")
    assert small.lock and small.lock.name == "small.txt"
    assert small.hash != large.hash and node.store.find("little") == small


@pytest.mark.slow
def test_no_other_lock_is_used_if_the_first_fails_otherwise(node) -> None:
    node_with_two_locks(node)
    (node.wheels / "tiny-1.0+cpu-py3-none-any.whl").write_bytes(b"no wheel")
    failed = failure(node)
    assert "tiny==1.0+cpu" in failed.reason + failed.log_tail
    assert "nowhere" not in failed.reason


def test_a_store_that_cannot_be_created_is_reported_with_the_remedy(tiny_node) -> None:
    tiny_node.home.parent.mkdir(exist_ok=True)
    tiny_node.home.write_text("a file where a folder should be")
    with pytest.raises(EnvironmentFailed, match=r"cannot be written .* VELODROME_HOME"):
        tiny_node.store.build("little")


@pytest.mark.slow
def test_an_untouched_environment_passes_its_check(numpy_store: EnvironmentStore) -> None:
    check = numpy_store.check(numpy_store.build("numpy"))
    assert check.ok and check.problems == ()
    assert check.framework_version == "2.4.6"


@pytest.mark.slow
def test_running_a_framework_changes_no_file_of_its_environment(tiny_node) -> None:
    environment = tiny_node.store.build("little")
    before = {path: path.stat().st_mtime_ns for path in environment.folder.rglob("*")}
    subprocess.run([environment.python, "-c", "import tiny"], check=True)
    assert {path: path.stat().st_mtime_ns for path in environment.folder.rglob("*")} == before


@pytest.mark.slow
def test_a_check_names_deleted_changed_and_added_files(tiny_node) -> None:
    environment = tiny_node.store.build("little")
    package = next(environment.folder.rglob("tiny/__init__.py")).parent
    package.joinpath("__init__.py").write_text("VERSION = 'other'\n")
    package.joinpath("new.py").write_text("")
    environment.folder.joinpath("pyvenv.cfg").unlink()
    problems = tiny_node.store.check(environment).problems
    place = package.relative_to(environment.folder)
    assert "pyvenv.cfg is missing" in problems
    assert f"{place}/__init__.py was changed" in problems
    assert f"{place}/new.py was added" in problems


@pytest.mark.slow
def test_a_check_names_a_manually_replaced_package(tiny_node) -> None:
    environment = tiny_node.store.build("little")
    tiny_node.add_tiny("9.9")
    uv = [sys.executable, "-m", "uv", "pip", "install", "-q", "--python", environment.python]
    wheels = ["--no-index", "--find-links", tiny_node.wheels, "tiny==9.9"]
    subprocess.run([*uv, *wheels], check=True)
    check = tiny_node.store.check(environment)
    assert "tiny 9.9 installed, the lock names 1.0" in check.problems
    assert not check.ok


@pytest.mark.slow
def test_a_check_reports_that_the_framework_cannot_be_imported(tiny_node) -> None:
    environment = tiny_node.store.build("little")  # without numpy, which every adapter needs
    check = tiny_node.store.check(environment)
    assert [problem for problem in check.problems if "little cannot be imported" in problem]
    assert "numpy" in check.log_tail


@pytest.mark.slow
def test_a_check_imports_the_users_own_adapter(node, numpy_store: EnvironmentStore) -> None:
    """Its folder has the name of the package that it imports."""
    folder = node.add_framework("numpy_again", 'kind = "existing"\nabout = "a test"\n', {})
    python = numpy_store.build("numpy").python
    with (folder / "environment.toml").open("a") as recipe:
        recipe.write(f'module = "numpy"\npython = "{python}"\n')
    adapter = (
        "import numpy\nclass Adapter:\n    version = staticmethod(lambda: numpy.__version__)\n"
    )
    (folder / "adapter.py").write_text(adapter)
    check = node.store.check(node.store.build("numpy_again"))
    assert check.problems == () and check.framework_version == "2.4.6"


def test_environment_failures_can_be_sent_between_processes() -> None:
    import pickle

    failed = pickle.loads(pickle.dumps(EnvironmentFailed("no", "the log")))
    assert (failed.reason, failed.log_tail) == ("no", "the log")


@pytest.mark.slow
def test_an_unreadable_record_means_no_environment(tiny_node) -> None:
    environment = tiny_node.store.build("little")
    record = environment.folder / "velodrome-environment.json"
    fields = json.loads(record.read_text())
    record.write_text(json.dumps(fields)[:-20])
    assert tiny_node.store.find("little") is None
    assert tiny_node.store.prune() == (environment.name,)


@pytest.mark.slow
def test_the_callers_pythonpath_does_not_reach_a_build(tiny_node, tmp_path: Path) -> None:
    (tmp_path / "poison").mkdir()
    (tmp_path / "poison" / "tiny.py").write_text("raise SystemExit('the wrong tiny')\n")
    tiny_node.variables["PYTHONPATH"] = os.pathsep.join([str(tmp_path / "poison"), str(SRC)])
    assert tiny_node.store.build("little").size_bytes > 0
