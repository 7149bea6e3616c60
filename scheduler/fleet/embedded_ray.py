"""A private Ray for one command, started when no cluster is given and stopped with the command.

`ray start --head --block` runs under the agent's supervisor, which kills the whole process tree
when this process ends in any way, SIGKILL included (docs/decisions/0002). The private Ray has its
own folder, port and token, so it meets no other Ray on the machine.
"""

import logging
import os
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from velodrome.agents.cores.lock_files import LocksUnusable, try_lock
from velodrome.agents.environments.absolute_variables import make_paths_absolute
from velodrome.agents.isolation.supervised import SupervisedProcess, run_supervised
from velodrome.agents.safe_text import escape_undecodable
from velodrome.scheduler.errors import ClusterUnreachable

log = logging.getLogger(__name__)

TRIES = 3
START_DEADLINE_S = 120.0
POLL_S = 0.05
OBJECT_STORE_BYTES = 100_000_000  # events and rows are small; Ray would take 30 % of the memory
PREFIX = "velodrome-ray-"
# Inside a folder that no other user may enter: Ray opens its own, with its sockets, to all users.
RAY_FOLDER = "r"
IN_USE = "in-use.lock"
SETTINGS_PREFIX = "RAY_"
# sun_path of sockaddr_un holds 108 bytes (unix(7)), the last of them zero.
SOCKET_PATH_BYTES = 107
# As Ray's node.py names the longest of its sockets, with mkdtemp's eight letters before it.
LONGEST_SOCKET = (
    f"/{PREFIX}{{pid}}-abcdefgh/{RAY_FOLDER}/session_2026-01-02_03-04-05_678901_{{pid}}"
    "/sockets/plasma_store"
)
PID_MAX = Path("/proc/sys/kernel/pid_max")
PID_MAX_LIMIT = 4 * 1024 * 1024  # of every Linux: include/linux/threads.h
SHORT_PLACES = ("/tmp", "/var/tmp", "/dev/shm")


@dataclass(frozen=True)
class RayAddress:
    """The address of a Ray and the environment variables that its drivers need."""

    address: str
    variables: Mapping[str, str]


@contextmanager
def embedded_ray(cpus: int, gpus: int) -> Iterator[RayAddress]:
    """Run a Ray with these resources. ClusterUnreachable, with the end of its log, if it fails."""
    check_hostname(os.uname().nodename)
    _remove_leftovers()
    with ExitStack() as stack:
        yield _start_with_retries(stack, cpus, gpus)


def check_hostname(hostname: str) -> None:
    """Raise ClusterUnreachable if the host name is not UTF-8, with which Ray does not start."""
    if escape_undecodable(hostname) != hostname:
        raise ClusterUnreachable(
            f"Ray needs a machine whose name is UTF-8, not {escape_undecodable(hostname)}. "
            "Rename it (`sudo hostnamectl set-hostname NAME`), or use `velodrome measure`"
        )


def _start_with_retries(stack: ExitStack, cpus: int, gpus: int) -> RayAddress:
    """Start Ray, up to TRIES times.

    It gives up by itself after 30 s, which a busy machine may need.
    """
    for _ in range(TRIES - 1):
        try:
            return stack.enter_context(_start(cpus, gpus))
        except ClusterUnreachable as error:
            log.warning("%s; retrying", error)
    return stack.enter_context(_start(cpus, gpus))


@contextmanager
def _start(cpus: int, gpus: int) -> Iterator[RayAddress]:
    folder = _create_folder()
    variables = _create_token(folder)
    in_use = try_lock(folder / IN_USE)
    try:
        environ = replace_ray_variables(
            make_paths_absolute(os.environ), variables
        )  # its processes run in another folder
        with run_supervised(_command(folder, cpus, gpus), environ, folder / "ray.log") as running:
            yield RayAddress(_wait_for_address(folder, running), variables)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if in_use is not None:
            os.close(in_use)


def replace_ray_variables(
    environ: Mapping[str, str], variables: Mapping[str, str]
) -> dict[str, str]:
    """Copy an environment with these RAY_* variables and no others.

    A shell's or job's settings are for the user's Ray: RAY_REDIS_ADDRESS keeps ours from starting,
    RAY_ADDRESS would make it join another, RAY_JOB_CONFIG_... ships code to it.
    """
    others = {k: v for k, v in environ.items() if not k.upper().startswith(SETTINGS_PREFIX)}
    return {**others, **variables}


def apply_ray_variables(variables: Mapping[str, str]) -> None:
    """Apply replace_ray_variables to this process, before it imports Ray, which reads them once."""
    environ = replace_ray_variables(os.environ, variables)
    for name in os.environ.keys() - environ.keys():
        del os.environ[name]
    os.environ.update(environ)


def _command(folder: Path, cpus: int, gpus: int) -> list[str]:
    return [
        sys.executable,
        "-m",
        "ray.scripts.scripts",
        "start",
        "--head",
        "--block",
        "--port=0",
        "--include-dashboard=false",
        "--include-log-monitor=false",  # drivers take no log lines of workers
        "--no-monitor",  # of the autoscaler: this Ray is one node
        "--disable-usage-stats",
        f"--num-cpus={cpus}",
        f"--num-gpus={gpus}",
        f"--temp-dir={folder / RAY_FOLDER}",
        f"--object-store-memory={OBJECT_STORE_BYTES}",
        '--system-config={"enable_metrics_collection": false}',
    ]


def _create_token(folder: Path) -> dict[str, str]:
    """Create this Ray's own token: its drivers and nodes do not touch the user's."""
    token = folder / "token"
    token.touch(mode=0o600)
    token.write_text(secrets.token_hex(32))
    return {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_enable_open_telemetry": "0",
    }


def _wait_for_address(folder: Path, running: SupervisedProcess) -> str:
    """Wait for the address that Ray writes once it listens."""
    written = folder / RAY_FOLDER / "ray_current_cluster"
    deadline = time.monotonic() + START_DEADLINE_S
    while time.monotonic() < deadline and running.poll(POLL_S) is None:
        if written.exists() and (address := written.read_text().strip()):
            return address
    raise ClusterUnreachable(f"no Ray could be started on this machine: {_read_log_end(folder)}")


def _read_log_end(folder: Path) -> str:
    written = folder / "ray.log"
    lines = written.read_text(errors="replace").splitlines() if written.exists() else []
    return " / ".join(line.strip() for line in lines[-4:]) or "it wrote nothing"


def _create_folder() -> Path:
    """Create Ray's folder in the first place with room for it and for the paths of its sockets."""
    largest_pid = _read_largest_pid()
    rejected = [
        f"{place} (its path is too long)"
        for place in _list_places()
        if not fits_sockets(place, largest_pid)
    ]
    for place in (place for place in _list_places() if fits_sockets(place, largest_pid)):
        try:
            return Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=place))
        except OSError as error:
            rejected.append(f"{place} ({error.strerror})")
    raise ClusterUnreachable(
        f"no folder is suitable for Ray's files: {', '.join(rejected)}. Set TMPDIR to a writable "
        f"one whose path has at most {compute_room_bytes(largest_pid)} bytes"
    )


def _list_places() -> tuple[str, ...]:
    """List candidate folders for Ray's files.

    The usual temporary one, then those with short paths.
    """
    try:
        usual = tempfile.gettempdir()
    except FileNotFoundError:  # no folder is writable
        usual = SHORT_PLACES[0]
    return tuple(dict.fromkeys((usual, *SHORT_PLACES)))


def fits_sockets(place: str, largest_pid: int) -> bool:
    """Return True if the path of Ray's longest socket fits there. Ray reads paths as UTF-8."""
    try:
        return len(place.encode()) <= compute_room_bytes(largest_pid)
    except UnicodeEncodeError:
        return False


def compute_room_bytes(largest_pid: int) -> int:
    """Return how long the path of the parent folder may be; a socket's name holds two pids."""
    return SOCKET_PATH_BYTES - len(LONGEST_SOCKET.format(pid=largest_pid))


def _read_largest_pid() -> int:
    try:
        return int(PID_MAX.read_text())
    except (OSError, ValueError):
        return PID_MAX_LIMIT


def _remove_leftovers() -> None:
    """Remove the folders of killed commands, whose Rays are dead.

    The PID in a folder's name may be that of a process in another container: then its lock is held.
    """
    for folder in (each for place in _list_places() for each in Path(place).glob(f"{PREFIX}*")):
        pid = folder.name.removeprefix(PREFIX).partition("-")[0]
        if pid.isdecimal() and not Path(f"/proc/{pid}").exists() and not _is_in_use(folder):
            shutil.rmtree(folder, ignore_errors=True)


def _is_in_use(folder: Path) -> bool:
    """Return True if a folder's lock is held, or belongs to another user."""
    if not (folder / IN_USE).exists():
        return False
    try:
        lock = try_lock(folder / IN_USE)
    except LocksUnusable:
        return True
    if lock is not None:
        os.close(lock)
    return lock is None
