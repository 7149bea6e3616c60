"""The embedded Ray starts wherever temporary files are and whatever the shell has set."""

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from velodrome.agents.cores.lock_files import try_lock
from velodrome.scheduler.errors import ClusterUnreachable
from velodrome.scheduler.fleet import embedded_ray as own
from velodrome.scheduler.fleet.embedded_ray import RayAddress, embedded_ray

# What shells, clusters and jobs set; each of most of these alone keeps a Ray from coming up.
SETTINGS_OF_OTHERS = {
    "RAY_REDIS_ADDRESS": "127.0.0.1:1",
    "RAY_ADDRESS": "127.0.0.1:2",
    "RAY_NAMESPACE": "theirs",
    "RAY_JOB_CONFIG_JSON_ENV_VAR": '{"runtime_env": {"working_dir": "/not/there"}}',
    "RAY_USE_TLS": "1",
    "RAY_TLS_SERVER_CERT": "/not/there",
    "RAY_AUTH_TOKEN": "theirs",
    "RAY_TMPDIR": "/not/there",
    "RAY_gcs_storage": "redis",
    "RAY_num_workers_soft_limit": "0",
    "RAY_worker_register_timeout_seconds": "0",
    "RAY_RUNTIME_ENV_HOOK": "not.there",
}
JOIN_IT = """
import os
from velodrome.scheduler.fleet.embedded_ray import embedded_ray, apply_ray_variables
with embedded_ray(1, 0) as started:
    apply_ray_variables(started.variables)
    from velodrome.scheduler.fleet.cluster import connect
    with connect(started.address):
        import ray
        there = ray.remote(lambda: [name for name in os.environ if "THEIRS" in name])
        print(ray.get(there.remote()), sorted(one["Alive"] for one in ray.nodes()))
"""


@pytest.mark.parametrize("largest_pid", [32768, own.PID_MAX_LIMIT])
def test_the_longest_socket_fits_in_every_accepted_folder(tmp_path: Path, largest_pid: int) -> None:
    """The kernel is asked, in a folder of exactly that many bytes; one more is too long for it."""
    room = own.compute_room_bytes(largest_pid)
    name = own.LONGEST_SOCKET.format(pid=largest_pid)
    for place in ("/" + "p" * (room - 1), "/" + "é" * ((room - 1) // 2)):
        assert own.fits_sockets(place, largest_pid)
        assert _can_be_made(tmp_path, place + name)
    assert not own.fits_sockets("/" + "p" * room, largest_pid)
    assert not own.fits_sockets("/" + "é" * (room - 2), largest_pid)  # characters are no bytes
    assert not _can_be_made(tmp_path, "/" + "p" * room + name)
    assert not own.fits_sockets("/\udcff", largest_pid)  # bytes that are no text


def _can_be_made(folder: Path, path: str) -> bool:
    """A path of as many bytes below the folder, which stands for the place."""
    left = len(path.encode()) - len(os.fsencode(folder)) - 1
    assert left > 0
    with closing(socket.socket(socket.AF_UNIX)) as made:
        try:
            made.bind(f"{folder}/{'s' * left}")
        except OSError:
            return False
    return True


def test_the_error_names_the_fix_when_no_folder_is_suitable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / ("deep" * 20)))
    monkeypatch.setattr(own, "SHORT_PLACES", ("/proc",))  # where nobody can write
    with (
        pytest.raises(ClusterUnreachable, match=r"too long.*Set TMPDIR .* at most \d+ bytes"),
        embedded_ray(1, 0),
    ):
        pass


def test_leftovers_of_killed_commands_are_removed_but_not_those_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(own, "SHORT_PLACES", ("/proc",))
    left, used, alive = (
        tmp_path / f"{own.PREFIX}{pid}-abcdefgh"
        for pid in (own.PID_MAX_LIMIT + 1, own.PID_MAX_LIMIT + 2, os.getpid())
    )
    for folder in (left, used, alive):
        folder.mkdir()
    lock = try_lock(used / own.IN_USE)  # its PID is one of another container's
    assert lock is not None
    (left / own.IN_USE).touch()
    with pytest.raises(ClusterUnreachable), embedded_ray(1, 0):
        pass
    assert sorted(tmp_path.iterdir()) == sorted([used, alive])
    os.close(lock)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["t" * 15, "é" * 9])
def test_ray_starts_despite_long_paths_and_the_users_ray_settings(
    name: str,
) -> None:
    place = Path("/tmp") / name  # of 20 and of 14 characters, 23 bytes
    place.mkdir(exist_ok=True)
    try:
        done = subprocess.run(
            [sys.executable, "-c", JOIN_IT],
            env={**os.environ, **SETTINGS_OF_OTHERS, "TMPDIR": str(place)},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
    finally:
        place.rmdir()  # nothing was left in it
    assert (done.returncode, done.stdout) == (0, "[] [True]\n"), done.stderr


@pytest.fixture(scope="module")
def guarded() -> Iterator[RayAddress]:
    """A Ray that wants a token."""
    with embedded_ray(1, 0) as started:
        yield started


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.parametrize(
    ("token", "message"),
    [
        (b"0" * 64, "requires a token, and {} holds another"),
        (b"\xff\xfe\n", "{} holds no Ray token"),
        (b"", "file cannot be opened or is empty: {}"),
        (None, "requires a token, and this machine has none"),
    ],
)
def test_a_rejected_token_is_reported_in_one_line_with_the_fix(
    guarded: RayAddress, tmp_path: Path, token: bytes | None, message: str
) -> None:
    variables = {"HOME": str(tmp_path)}
    if token is not None:
        (tmp_path / "token").write_bytes(token)
        variables["RAY_AUTH_TOKEN_PATH"] = str(tmp_path / "token")
    done = subprocess.run(
        [sys.executable, "-m", "velodrome.scheduler.cli", "nodes", "--address", guarded.address],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (done.returncode, done.stdout) == (ClusterUnreachable.exit_status, "")
    (line,) = done.stderr.splitlines()
    assert message.format(tmp_path / "token") in line
    assert "Copy the head's token" in line
