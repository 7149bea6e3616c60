"""Debian trees: requirements of the node, build failures, contents, checks."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from velodrome.adapters import protocol
from velodrome.adapters.protocol import Request
from velodrome.adapters.registry import FRAMEWORKS, Framework
from velodrome.agents.environments import debian_packages, launch
from velodrome.agents.environments.debian_messages import explain
from velodrome.agents.environments.debian_sources import choose, read_debian_sources
from velodrome.agents.environments.disk_layout import is_in_use
from velodrome.agents.environments.environment import Environment
from velodrome.agents.environments.failures import EnvironmentFailed
from velodrome.agents.environments.launch import launch_command
from velodrome.agents.environments.recipes import RecipeError, read_recipe
from velodrome.agents.environments.store import EnvironmentStore
from velodrome.agents.environments.tool_runs import ToolRun
from velodrome.agents.isolation.supervised import ExitCause
from velodrome.agents.isolation.worker_process import WorkerBounds
from velodrome.agents.session import Session, WorkerSetting, run_session

FAULTY = Path(__file__).parents[2] / "faulty"
TREE_RECIPE = """
kind = "debian"
about = "a test"
module = "json"
suite = "bullseye"
python = ["3.9"]
locks = [{file = "one.txt", devices = ["cpu"], platforms = ["linux-x86_64"]}]
"""
LOCK = "# Debian bullseye\nnothing-like-it=1.0\n"


def node_with_a_tree_to_build(node, **variables: str):
    node.add_framework("leafy", TREE_RECIPE, {"one.txt": LOCK})
    node.variables.update(variables)
    return node.store


def test_without_mmdebstrap_the_reason_says_what_to_install(node, tmp_path: Path) -> None:
    store = node_with_a_tree_to_build(node, PATH=str(tmp_path))
    with pytest.raises(EnvironmentFailed, match="apt-get install mmdebstrap bubblewrap"):
        store.build("leafy")
    assert not [folder for folder in store.root.iterdir() if "leafy" in folder.name]


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("mmdebstrap"), reason="mmdebstrap is not installed")
def test_an_archive_without_the_suite_is_named_and_leaves_nothing(node, tmp_path: Path) -> None:
    store = node_with_a_tree_to_build(node, VELODROME_DEBIAN_MIRROR=f"file://{tmp_path}/none")
    with pytest.raises(
        EnvironmentFailed, match=r"none has no bullseye, which leafy needs"
    ) as error:
        store.build("leafy")
    assert "VELODROME_DEBIAN_MIRROR" in error.value.reason
    assert error.value.log_tail
    assert not [folder for folder in store.root.iterdir() if "leafy" in folder.name]


@pytest.mark.parametrize(
    ("change", "key"),
    [
        (('suite = "bullseye"', ""), "environment.toml:suite"),
        (('"debian"', '"uv"'), "environment.toml:suite"),
        ((', platforms = ["linux-x86_64"]', ""), "environment.toml:locks.0.platforms"),
    ],
)
def test_a_debian_recipe_names_its_suite_and_each_locks_platform(node, change, key) -> None:
    folder = node.add_framework("leafy", TREE_RECIPE.replace(*change), {"one.txt": LOCK})
    with pytest.raises(RecipeError, match=key):
        read_recipe(folder)


@pytest.mark.parametrize(
    ("output", "words"),
    [
        (
            "E: Version '9:1.19' for 'python3-numpy' was not found",
            "python3-numpy=9:1.19, which caffe needs, is not in bullseye of http://mirror/debian",
        ),
        ("E: Unable to locate package python3-cafe", "python3-cafe, which caffe needs"),
        ("E: Package 'caffe-cpu' has no installation candidate", "caffe-cpu, which caffe needs"),
        ("Err:1 http://mirror/debian bullseye\n  Could not resolve 'mirror'", "not be reached"),
        ("E: write error: No space left on device", "the disk filled up"),
        ("W: GPG error: NO_PUBKEY 648ACFD622F3D138", "apt-get install debian-archive-keyring"),
        ("E: newuidmap failed", "apt-get install uidmap"),
        ("I: running\nE: something else\nE: mmdebstrap failed to run", "caffe: something else."),
    ],
)
def test_a_failed_tree_build_is_explained_in_one_line_with_a_remedy(
    output: str, words: str
) -> None:
    failure = explain(ToolRun(25, output), "caffe", "bullseye", "http://mirror/debian")
    assert words in failure.reason
    assert "\n" not in failure.reason
    assert failure.log_tail == output


def test_packages_come_from_the_archive_in_the_nodes_apt_configuration() -> None:
    targets = [
        "https://third.example/apt/|stable|Third",
        "http://mirror.example/debian-security/|bookworm-security|Debian",
        "http://mirror.example/debian/|bookworm-updates|Debian",
        "http://mirror.example/debian/|bookworm|Debian",
    ]
    assert choose(targets) == "http://mirror.example/debian/"
    assert choose(["http://never.updated/debian/|bookworm|$(ORIGIN)"])
    assert choose(["http://ubuntu.example/ubuntu/|noble|Ubuntu"]) == ""


def test_a_named_mirror_wins_and_a_node_without_apt_has_none(tmp_path: Path) -> None:
    environ = {"PATH": str(tmp_path), "VELODROME_DEBIAN_MIRROR": "http://archive/debian"}
    assert read_debian_sources(environ).mirror == "http://archive/debian"
    assert read_debian_sources({"PATH": str(tmp_path)}).mirror == ""


def test_a_lock_names_exactly_the_packages_that_dpkg_installed(tmp_path: Path) -> None:
    status = tmp_path / debian_packages.STATUS
    status.parent.mkdir(parents=True)
    status.write_text(
        "Package: numbers\nStatus: install ok installed\nVersion: 1:1.19=a\nDescription: two\n"
        " lines: here\n\nPackage: gone\nStatus: deinstall ok config-files\nVersion: 3\n"
    )
    found = debian_packages.read_installed(tmp_path)
    text = debian_packages.format_lock("bullseye", found)
    assert debian_packages.parse_lock(text) == found == {"numbers": "1:1.19=a"}
    assert debian_packages.list_differences({"numbers": "2", "new": "1"}, found) == (
        "new is not installed, the lock names 1",
        "numbers 1:1.19=a installed, the lock names 2",
    )


@pytest.fixture(scope="module")
def caffe(framework_environment: Callable[[str], Environment]) -> Environment:
    if not shutil.which("mmdebstrap"):
        pytest.skip("mmdebstrap is not installed")
    return framework_environment("caffe")


def run_inside(environment: Environment, script: str, cwd: Path) -> object:
    command = launch_command(environment, "", ["-c", script])
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.framework
@pytest.mark.full
@pytest.mark.parametrize("way", ["bubblewrap", "chroot"])
def test_inside_a_tree_only_the_system_folders_are_the_trees(
    caffe: Environment, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if way == "chroot":
        if os.geteuid() != 0:
            pytest.skip("only root may chroot")
        monkeypatch.setattr(launch.shutil, "which", lambda name: None)
    script = """if True:
        import json, os, platform, velodrome.adapters
        open("left", "w").close()
        try:
            open("/usr/written", "w")
        except OSError as error:
            refused = error.errno
        print(json.dumps([platform.python_version(), os.getcwd(), os.readlink("/proc/self/ns/pid"),
            refused, velodrome.adapters.__file__, open("/etc/debian_version").read()[:3]]))
    """
    found = run_inside(caffe, script, tmp_path)
    assert found == [
        caffe.python_version,
        str(tmp_path),
        str(Path("/proc/self/ns/pid").readlink()),
        30,  # EROFS
        "/velodrome/velodrome/adapters/__init__.py",
        "11.",
    ]
    assert (tmp_path / "left").exists()


def session_of(environment: Environment, faulty: str, home: Path, **bounds: float) -> Session:
    """A faulty adapter on lenet, in the tree."""
    folder = FAULTY / faulty
    framework = Framework(faulty, "", ("x",), ("cpu",), "adapter", str(folder), str(folder))
    request = Request(
        "measure", faulty, "adapter", "float64", "lenet", 2, "cpu", 1, "float32", 0, ""
    )
    reference = home / "reference.npz"
    setting = WorkerSetting(environment, framework, home, WorkerBounds(**bounds))
    events: list[object] = []
    made = request._replace(action="reference", reference=str(reference))
    run_session(made, setting, events.append)
    assert isinstance(events[-1], protocol.Finished), events
    return run_session(request._replace(reference=str(reference)), setting, events.append)


@pytest.mark.framework
@pytest.mark.full
@pytest.mark.slow
def test_a_worker_killed_inside_a_tree_is_reported_with_its_signal(
    caffe: Environment, tmp_path: Path
) -> None:
    ended = session_of(caffe, "segfaults", tmp_path)
    assert ended.ending is not None
    assert (ended.ending.cause, ended.ending.signal) == (ExitCause.EXIT, 11), ended.log_tail
    assert "about to fault" in ended.log_tail


@pytest.mark.framework
@pytest.mark.full
@pytest.mark.slow
def test_a_worker_that_hangs_inside_a_tree_is_gone_after_its_deadline(
    caffe: Environment, tmp_path: Path
) -> None:
    ended = session_of(caffe, "hangs", tmp_path, deadline_s=8.0)
    assert ended.ending is not None
    assert ended.ending.cause is ExitCause.DEADLINE
    hello = next(event for event in ended.events if isinstance(event, protocol.Hello))
    assert not Path(f"/proc/{hello.pid}").exists()


@pytest.mark.framework
@pytest.mark.full
def test_a_tree_with_a_running_process_is_not_pruned(caffe: Environment, tmp_path: Path) -> None:
    command = launch_command(caffe, "", ["-c", "print('here', flush=True); input()"])
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"here\n"
        assert is_in_use(caffe.folder)


@pytest.mark.framework
@pytest.mark.full
@pytest.mark.slow
def test_a_removed_or_changed_file_in_a_tree_is_detected(
    caffe: Environment, tmp_path: Path
) -> None:
    store = EnvironmentStore(tmp_path / "envs", os.environ)
    folder = store.root / caffe.name
    folder.parent.mkdir(parents=True)
    subprocess.run(["cp", "-al", caffe.folder, folder], check=True)
    found = store.find("caffe")
    assert found is not None and found.tree == folder / "tree"
    package = "tree/usr/lib/python3/dist-packages"
    (folder / package / "caffe/io.py").unlink()
    numpy = folder / package / "numpy/version.py"
    other = numpy.read_text() + "\n"
    numpy.unlink()  # its other name is another environment's
    numpy.write_text(other)
    problems = store.check(found).problems
    assert f"{package}/caffe/io.py is missing" in problems
    assert f"{package}/numpy/version.py was changed" in problems
    assert any("cannot be imported" in problem for problem in problems)


def test_an_interpreter_outside_any_tree_is_started_directly(tmp_path: Path) -> None:
    environment = Environment("numpy", "", tmp_path, tmp_path / "bin/python", None)
    assert launch_command(environment, "", ["-V"]) == [str(tmp_path / "bin/python"), "-V"]
    assert FRAMEWORKS["caffe"].default_variant == "openblas"
    assert replace(environment, kind="uv").tree is None
