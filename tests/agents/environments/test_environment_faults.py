"""Faults during a build: no incomplete environment is used, and the next build succeeds."""

import contextlib
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from velodrome.agents.environments.store import EnvironmentFailed

# Prints its progress; on request it stops after `building ...` until it reads a line.
BUILDER = """
import sys
from velodrome.agents.environments.store import EnvironmentStore

def tell(line):
    print(line, flush=True)
    if "--pause" in sys.argv and line.startswith("building"):
        sys.stdin.readline()

print("began", flush=True)
print("got", EnvironmentStore().build("little", on_progress=tell).name, flush=True)
"""
SRC = Path(__file__).parents[3] / "src"


@contextlib.contextmanager
def builder(node, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    child = subprocess.Popen(
        [sys.executable, "-c", BUILDER, *arguments],
        env={**node.environ, "PYTHONPATH": str(SRC)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # As in a terminal: a test run in the background may ignore SIGINT.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def read_until(child: subprocess.Popen[str], start: str) -> str:
    assert child.stdout
    lines = []
    for line in child.stdout:
        lines.append(line)
        if line.startswith(start):
            return line.strip()
    raise AssertionError("".join(lines))


def thick_node(node):
    """A framework of enough modules that installing and compiling them takes a while."""
    body = "".join(f"def f{n}(x):\n    return x * {n} + [x, {{'a': x}}][0]\n" for n in range(80))
    modules = {f"m{n}": body.encode() for n in range(300)}
    node.add_framework("little", node.recipe, {"one.txt": node.add_tiny(**modules)})
    return node


def list_processes(place: Path) -> list[psutil.Process]:
    """List the processes whose command line contains the path."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if str(place) in " ".join(process.info["cmdline"] or [])
    ]


def wait_for_processes(place: Path) -> list[psutil.Process]:
    """Return the processes that still run after 2 s."""
    psutil.wait_procs(list_processes(place), timeout=2)
    return list_processes(place)


def list_files(environment) -> list[str]:
    """Every file with its hash; bytecode aside, which holds the time of its source."""
    lines = (environment.folder / "velodrome-manifest.txt").read_text().splitlines()
    return [line for line in lines if not line.endswith(".pyc")]


@pytest.mark.full
@pytest.mark.slow
def test_a_build_killed_at_any_instant_leaves_nothing_usable(node) -> None:
    """Ten builds are killed at random instants of the time that a whole build takes."""
    thick_node(node)
    began = time.monotonic()
    whole = node.store.build("little")
    took_s = time.monotonic() - began
    contents = list_files(whole)
    instants = random.Random(7)
    killed = 0
    for _ in range(10):
        shutil.rmtree(whole.folder, ignore_errors=True)
        with builder(node) as child:
            read_until(child, "began")
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(timeout=instants.uniform(0, took_s))
            killed += child.poll() is None
            child.send_signal(signal.SIGKILL)
            child.wait()
        assert wait_for_processes(node.home) == []
        found = node.store.find("little")
        assert found is None or not node.store.check(found).problems[:-1]  # the last: no numpy
    assert killed >= 3
    again = node.store.build("little")
    assert again == whole
    assert list_files(again) == contents
    assert not list(again.folder.parent.glob(".building.*"))


STAGES = ["building", "Resolved", "Installed", "Bytecode", "checking"]


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_a_build_killed_at_any_stage_is_ignored_and_repeated(node, stage: str) -> None:
    thick_node(node)
    with builder(node) as child:
        read_until(child, stage)
        child.send_signal(signal.SIGKILL)
        child.wait()
    left = list((node.home / "envs").glob(".building.*"))
    assert wait_for_processes(node.home) == []
    if node.store.find("little") is None:  # it may have been faster than the signal at the end
        assert node.store.list() == () and len(left) <= 1
    environment = node.store.build("little")
    names = {path.name for path in environment.folder.parent.iterdir()}
    assert names == {".locks", environment.name}


@pytest.mark.slow
def test_ctrl_c_ends_a_build_and_removes_it(node) -> None:
    thick_node(node)
    with builder(node) as child:
        read_until(child, "Resolved")
        child.send_signal(signal.SIGINT)
        output, _ = child.communicate(timeout=30)
    assert "KeyboardInterrupt" in output
    assert [path.name for path in (node.home / "envs").iterdir()] == [".locks"]
    assert wait_for_processes(node.home) == []


@pytest.mark.slow
def test_one_of_two_builders_builds_and_the_other_says_that_it_waits(tiny_node) -> None:
    with builder(tiny_node, "--pause") as first:
        read_until(first, "building")
        with builder(tiny_node) as second:
            read_until(second, "another build of little is running here: waiting")
            first.stdin.write("go on\n")
            first.stdin.flush()
            built = read_until(first, "got")
            reused = read_until(second, "little was built meanwhile")
            assert reused.split()[-1] == built.split()[-1]
            assert read_until(second, "got") == built


@pytest.mark.slow
def test_a_waiting_builder_builds_if_the_other_is_killed(tiny_node) -> None:
    with builder(tiny_node, "--pause") as first:
        read_until(first, "building")
        with builder(tiny_node) as second:
            read_until(second, "another build of little is running")
            first.send_signal(signal.SIGKILL)
            assert read_until(second, "building")
            assert read_until(second, "got")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MB. Its megabytes are real, and so is its end."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(disk)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting is not permitted here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def incompressible(megabytes: int) -> bytes:
    return b"X = " + repr(random.Random(0).randbytes(megabytes * 400_000)).encode()


def fill_up(node) -> EnvironmentFailed:
    with pytest.raises(EnvironmentFailed) as raised:
        node.store.build("little")
    assert "the disk filled up" in raised.value.reason
    assert "VELODROME_HOME" in raised.value.reason
    assert node.store.find("little") is None
    assert not list((node.home / "envs").glob(".building.*"))
    return raised.value


@pytest.mark.slow
@pytest.mark.parametrize("megabytes", [2, 4])
def test_a_disk_that_fills_during_installation_or_compilation_is_reported(
    node, small_disk: Path, tmp_path: Path, megabytes: int
) -> None:
    node.home = small_disk / "home"
    node.variables["UV_CACHE_DIR"] = str(tmp_path / "uv")
    lock = node.add_tiny(large=incompressible(megabytes))
    node.add_framework("little", node.recipe, {"one.txt": lock})
    assert f"MB free in {node.home}/envs" in fill_up(node).reason
    node.add_framework("little", node.recipe, {"one.txt": node.add_tiny("2.0")})
    assert node.store.build("little").size_bytes > 0  # what failed has left its room


@pytest.mark.slow
def test_a_disk_that_fills_under_uvs_cache_is_reported(node, small_disk: Path) -> None:
    node.variables["UV_CACHE_DIR"] = str(small_disk / "uv")
    lock = node.add_tiny(large=incompressible(4))
    node.add_framework("little", node.recipe, {"one.txt": lock})
    assert f"MB free in {small_disk}/uv" in fill_up(node).reason


@pytest.mark.slow
def test_an_environment_too_large_for_the_disk_is_not_started(node, small_disk: Path) -> None:
    node.home = small_disk / "home"
    recipe = node.recipe.replace('file = "one.txt"', 'file = "one.txt", size_mb = 4')
    node.add_framework("little", recipe, {"one.txt": node.add_tiny()})
    with pytest.raises(EnvironmentFailed, match=r"needs 4 MB, and the disk of .* has [23] MB free"):
        node.store.build("little")


@pytest.mark.slow
def test_a_disk_that_is_full_from_the_start_is_reported(node, small_disk: Path) -> None:
    node.home = small_disk / "home"
    node.add_framework("little", node.recipe, {"one.txt": node.add_tiny()})
    with contextlib.suppress(OSError), (small_disk / "filler").open("wb") as filler:
        while True:
            filler.write(bytes(65536))
    with pytest.raises(EnvironmentFailed, match=r"VELODROME_HOME") as raised:
        node.store.build("little")
    assert "disk" in raised.value.reason or "No space left" in raised.value.reason
    assert node.store.list() == ()
