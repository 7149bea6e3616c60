"""File permissions of what Velodrome writes, and access to the embedded Ray."""

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hostile_words import SWEEP, measured

from velodrome.agents.node import Core, Node
from velodrome.scheduler.fleet.embedded_ray import embedded_ray
from velodrome.scheduler.results.store import Store


@contextmanager
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    try:
        yield
    finally:
        os.umask(before)


def writable_by_others(folder: Path) -> list[Path]:
    """List the files that others than the owner can reach and change."""
    found = []
    for place, folders, files in os.walk(folder):
        here = [Path(place) / name for name in (*folders, *files)]
        found += [one for one in here if not one.is_symlink() and one.stat().st_mode & 0o022]
        folders[:] = [name for name in folders if (Path(place) / name).stat().st_mode & 0o077]
    return found


def test_only_the_owner_can_change_results_whatever_the_umask(tmp_path: Path) -> None:
    there = tmp_path / "shared"
    there.mkdir(mode=0o755)
    with open_umask():
        for results in (there / "new" / "results", there):
            store = Store(results)
            with store.hold_sweep(SWEEP):
                store.put(SWEEP, measured())
                store.put_nodes(SWEEP, [Node("n1", "host1", "CPU", (Core(0, (0,)),), 2**30)])
                store.compact(SWEEP)
    assert writable_by_others(tmp_path) == []
    assert (there / "new" / "results").stat().st_mode & 0o777 == 0o700


@pytest.mark.slow
def test_only_the_owner_can_change_the_files_of_a_measurement(command, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o755)
    words = ["measure", "numpy", "autoencoder-400-200-100/ae1", "--batch-size", "4"]
    words += ["--max-seconds", "1", "--results", str(tmp_path / "kept" / "results")]
    with open_umask():  # which a child inherits
        done = subprocess.run(
            [sys.executable, "-m", "velodrome.scheduler.cli", *words],
            env={
                **command.variables,
                "VELODROME_HOME": str(home),
                "VELODROME_LOCKS": str(command.folder / "locks-of-cores"),
            },
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert sorted(entry.name for entry in home.iterdir()) >= ["caches", "import", "references"]
    assert writable_by_others(tmp_path) == []


@pytest.mark.slow
def test_the_embedded_ray_has_its_own_token_and_sends_no_usage_reports() -> None:
    with open_umask(), embedded_ray(1, 0) as started:
        token = Path(started.variables["RAY_AUTH_TOKEN_PATH"])
        assert token.stat().st_mode & 0o777 == 0o600
        assert token.parent.stat().st_mode & 0o077 == 0  # where Ray's own folder lies, too
        assert len(token.read_text()) == 64
        assert started.variables["RAY_AUTH_MODE"] == "token"
        assert started.variables["RAY_USAGE_STATS_ENABLED"] == "0"
        assert "nauthenticated" in stranger(started.address, secrets.token_hex(32))


def stranger(address: str, token: str) -> str:
    """Ask Ray for its nodes with this token, and return its answer."""
    variables = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
    words = ["-m", "ray.scripts.scripts", "health-check", "--address", address]
    done = subprocess.run(
        [sys.executable, *words],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout + done.stderr
