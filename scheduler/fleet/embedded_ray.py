"""A Ray of our own for one command: started when no cluster is given, gone when the command is.

`ray start --head --block` runs under the agent's keeper, which kills the whole tree when this
process lets go of it, by ending in any way, SIGKILL included (docs/decisions/0002). It has a
folder, a port and a token of its own, so it meets no other Ray on the machine.
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

from velodrome.agents.isolation.keeping import Kept, kept
from velodrome.scheduler.errors import ClusterUnreachable

log = logging.getLogger(__name__)

TRIES = 3
START_DEADLINE_S = 120.0
POLL_S = 0.05
OBJECT_STORE_BYTES = 100_000_000  # events and rows are small; Ray would take 30 % of the memory
PREFIX = "velodrome-ray-"  # short: paths of Ray's sockets must stay below 108 bytes
# Within a folder that nobody else may enter: Ray opens its own, sockets and all, to every user.
OPEN_FOLDER = "r"


@dataclass(frozen=True)
class RayAddress:
    """Where a Ray is, and the environment variables that its drivers need."""

    address: str
    variables: Mapping[str, str]


@contextmanager
def embedded_ray(cpus: int, gpus: int) -> Iterator[RayAddress]:
    """A Ray with so many CPUs and GPUs; ClusterUnreachable with the end of its log if it fails."""
    _remove_leftovers()
    with ExitStack() as stack:
        yield _first(stack, cpus, gpus)


def _first(stack: ExitStack, cpus: int, gpus: int) -> RayAddress:
    """The first Ray that comes up: it gives up by itself after 30 s, which a busy machine takes."""
    for _ in range(TRIES - 1):
        try:
            return stack.enter_context(_started(cpus, gpus))
        except ClusterUnreachable as error:
            log.warning("%s; once more", error)
    return stack.enter_context(_started(cpus, gpus))


@contextmanager
def _started(cpus: int, gpus: int) -> Iterator[RayAddress]:
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=_short_tmp()))
    variables = _variables(folder)
    environ = {**os.environ, **variables}
    environ.pop("RAY_ADDRESS", None)  # some other Ray's
    try:
        with kept(_command(folder, cpus, gpus), environ, folder / "ray.log") as running:
            yield RayAddress(_address(folder, running), variables)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


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
        "--disable-usage-stats",
        f"--num-cpus={cpus}",
        f"--num-gpus={gpus}",
        f"--temp-dir={folder / OPEN_FOLDER}",
        f"--object-store-memory={OBJECT_STORE_BYTES}",
        '--system-config={"enable_metrics_collection": false}',
    ]


def _variables(folder: Path) -> dict[str, str]:
    """A token of this Ray's own: neither its drivers nor its nodes touch the user's."""
    token = folder / "token"
    token.touch(mode=0o600)
    token.write_text(secrets.token_hex(32))
    return {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_enable_open_telemetry": "0",
    }


def _address(folder: Path, running: Kept) -> str:
    """Ray writes it once it listens."""
    written = folder / OPEN_FOLDER / "ray_current_cluster"
    deadline = time.monotonic() + START_DEADLINE_S
    while time.monotonic() < deadline and running.ending(POLL_S) is None:
        if written.exists() and (address := written.read_text().strip()):
            return address
    raise ClusterUnreachable(f"no Ray could be started on this machine: {_last_words(folder)}")


def _last_words(folder: Path) -> str:
    written = folder / "ray.log"
    lines = written.read_text(errors="replace").splitlines() if written.exists() else []
    return " / ".join(line.strip() for line in lines[-4:]) or "it wrote nothing"


def _short_tmp() -> str | None:
    """The default place for temporary files, or /tmp where that is too deep for a socket's path."""
    place = tempfile.gettempdir()
    return None if len(place) < 28 else "/tmp"


def _remove_leftovers() -> None:
    """Folders of commands that were killed; their Rays are dead, but nobody swept up."""
    for folder in Path(_short_tmp() or tempfile.gettempdir()).glob(f"{PREFIX}*"):
        pid = folder.name.removeprefix(PREFIX).partition("-")[0]
        if pid.isdecimal() and not Path(f"/proc/{pid}").exists():
            shutil.rmtree(folder, ignore_errors=True)
