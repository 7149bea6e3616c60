"""Folders of environments on disk: whole or not there at all, and never seen half-made.

A folder in the making is called `.building.FRAMEWORK.HASH`, one on its way out
`.removing.FRAMEWORK.HASH`; a finished one `FRAMEWORK-HASH`, by a single rename. Whoever makes or
removes a framework's folders holds that framework's lock, which the kernel frees when its holder
dies; so whoever holds it may sweep what an earlier holder left. A process killed at any instant
leaves nothing that is used; a power cut may, and `envs check` finds it.
"""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import platformdirs
import psutil
from filelock import FileLock, Timeout

from velodrome.agents.environments.failures import EnvironmentFailed
from velodrome.agents.environments.private_folders import make_private

RECORD = "velodrome-environment.json"
LOCKS = ".locks"
WAIT_DEADLINE_S = 7200
_POLL_S = 0.2
_PRIVATE = 0o700


@dataclass(frozen=True)
class Record:
    """What is kept in an environment's folder, in RECORD.

    sources: where packages were looked for when a later lock was taken; empty: the first was.
    source: the user's source folder that it was built from; empty: packages alone. kind: the
    recipe's; interpreter: its path in the folder. version: the framework's, where one was asked for
    that no committed lock names.
    """

    framework: str
    hash: str
    lock: str
    python_version: str
    size_bytes: int
    sources: str = ""
    source: str = ""
    kind: str = "uv"
    interpreter: str = "bin/python"
    version: str = ""


@contextlib.contextmanager
def exclusive(root: Path, framework: str, on_progress: Callable[[str], None]) -> Iterator[None]:
    """Hold the framework's lock, root made first; tell if that means to wait for another build."""
    make_root(root)
    lock = _lock(root, framework)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        on_progress(f"another build of {framework} is running here: waiting for it")
        try:
            lock.acquire(timeout=WAIT_DEADLINE_S, poll_interval=_POLL_S)
        except Timeout:
            hours = WAIT_DEADLINE_S // 3600
            reason = f"another build of {framework} has been running for {hours} h. End it"
            raise EnvironmentFailed(reason) from None
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def in_the_making(root: Path, framework: str, name_hash: str) -> Iterator[Path]:
    """An empty folder that is gone afterwards, unless it was published. Lock held."""
    folder = root / f".building.{framework}.{name_hash}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=_PRIVATE)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def publish(folder: Path, final: Path, record: Record) -> None:
    """Give a complete folder its name, in place of one that may have it. Lock held."""
    write_record(folder, record)
    old = _removing(final)
    if final.exists():
        final.rename(old)
    folder.rename(final)
    shutil.rmtree(old, ignore_errors=True)


def write_record(folder: Path, record: Record) -> None:
    """Whole or not at all."""
    new = folder / f".{RECORD}"
    new.write_text(json.dumps(asdict(record), indent=2))
    new.replace(folder / RECORD)


def read_record(folder: Path) -> Record | None:
    """None unless it is a complete environment whose interpreter is still there."""
    try:
        record = Record(**json.loads((folder / RECORD).read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return record if (folder / record.interpreter).exists() else None


def complete(root: Path) -> tuple[tuple[Path, Record], ...]:
    pairs = ((folder, read_record(folder)) for folder in published(root))
    return tuple((folder, record) for folder, record in pairs if record)


def published(root: Path) -> list[Path]:
    """Complete ones, and those that were so once."""
    folders = sorted(root.iterdir()) if root.is_dir() else []
    return [folder for folder in folders if not folder.name.startswith(".")]


def remove_if_free(folder: Path) -> tuple[str, ...]:
    """With its cache. Out of sight first, at once; then file by file. The name, if removed."""
    root, framework = folder.parent, folder.name.rpartition("-")[0]
    with _if_free(root, framework) as free:
        if not free or not folder.exists():
            return ()
        old = _removing(folder)
        folder.rename(old)
        shutil.rmtree(old, ignore_errors=True)
        shutil.rmtree(caches_of(root) / folder.name, ignore_errors=True)
        return (folder.name,)


def sweep(root: Path, framework: str) -> tuple[str, ...]:
    """Remove what died in the making or on its way out. Lock held. Names of what was removed."""
    left = [*root.glob(f".building.{framework}.*"), *root.glob(f".removing.{framework}.*")]
    for folder in left:
        shutil.rmtree(folder, ignore_errors=True)
    return tuple(folder.name for folder in left)


def sweep_all(root: Path) -> tuple[str, ...]:
    """sweep for every framework that something was left of and that nobody builds."""
    removed: tuple[str, ...] = ()
    left = [*root.glob(".building.*"), *root.glob(".removing.*")]
    for framework in sorted({folder.name.split(".")[2] for folder in left}):
        with _if_free(root, framework) as free:
            removed += sweep(root, framework) if free else ()
    return removed


@contextlib.contextmanager
def _if_free(root: Path, framework: str) -> Iterator[bool]:
    """Hold the framework's lock if nobody does; True if so."""
    lock = _lock(root, framework)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def is_in_use(folder: Path) -> bool:
    """Whether a process that we may look at was started from it, or entered it."""
    prefix = f"{folder}/"
    for process in psutil.process_iter(["cmdline"]):
        if any(prefix in word for word in process.info["cmdline"] or ()):
            return True
    return False


def caches_of(root: Path) -> Path:
    """Where the writable folders of the environments under root lie."""
    return home_of(root) / "caches"


def home_of(root: Path) -> Path:
    """Where what is made beside the environments under root lies: beside them, where that can be
    written. Of an image's it cannot: then in the user's cache folder, or in the temporary one.
    """
    if _can_be_written(root.parent):
        return root.parent
    name = hashlib.sha256(os.fsencode(root)).hexdigest()[:12]
    own = platformdirs.user_cache_path("velodrome") / "beside"
    temporary = Path(tempfile.gettempdir(), f"velodrome-beside-{os.geteuid()}")
    there = (
        place / name for place in (own, temporary) if _can_be_written(place) and _is_own(place)
    )
    return next(there, root.parent)


def _can_be_written(folder: Path) -> bool:
    """Or made, where it is not there."""
    there = next((one for one in (folder, *folder.parents) if one.exists()), folder)
    return os.access(there, os.W_OK | os.X_OK)


def _is_own(folder: Path) -> bool:
    """Or not there yet. What lies in it is believed, and its name can be guessed."""
    try:
        return folder.lstat().st_uid == os.geteuid() and not folder.is_symlink()
    except FileNotFoundError:
        return True


def locks_of(root: Path) -> Path:
    """Where the locks of versions lie that no committed lock names."""
    return root.parent / "locks"


def make_root(root: Path) -> None:
    for folder in (root.parent, root, root / LOCKS, caches_of(root)):
        make_private(folder)


@contextlib.contextmanager
def writing(root: Path) -> Iterator[None]:
    """EnvironmentFailed in place of an OSError: no rights, no room, a file in the way."""
    try:
        yield
    except OSError as error:
        raise EnvironmentFailed(
            f"{error.filename or root} cannot be written ({error.strerror or error}). "
            "Let VELODROME_HOME name a folder of yours with room in it"
        ) from error


def _removing(final: Path) -> Path:
    """Where a folder goes that is to be removed."""
    framework, _, name_hash = final.name.rpartition("-")
    old = final.parent / f".removing.{framework}.{name_hash}"
    shutil.rmtree(old, ignore_errors=True)
    return old


def _lock(root: Path, framework: str) -> FileLock:
    return FileLock(root / LOCKS / f"{framework}.lock", mode=0o600)
