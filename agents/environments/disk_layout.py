"""The folders of environments on disk: complete or absent, never half-built.

A folder under construction is `.building.FRAMEWORK.HASH`, one under removal
`.removing.FRAMEWORK.HASH`; a complete one is `FRAMEWORK-HASH`, by a single rename. A framework's
lock is held while its folders change; the kernel frees it when its holder dies, so the next holder
may remove leftovers. A process killed at any instant leaves nothing that is used; a power failure
may, and `envs check` detects it.
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
    """Metadata in an environment's folder, in RECORD.

    sources: searched package sources if a later lock was used; empty: the first lock. source: the
    user's source folder; empty: packages only. kind: the recipe's. interpreter: its path in the
    folder. version: the requested one, if no committed lock has it.
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
def lock_framework(
    root: Path, framework: str, on_progress: Callable[[str], None]
) -> Iterator[None]:
    """Hold the framework's lock; create root first, and report a wait for another build."""
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
def temporary_folder(root: Path, framework: str, name_hash: str) -> Iterator[Path]:
    """Create an empty folder, removed afterwards unless it was published. Lock held."""
    folder = root / f".building.{framework}.{name_hash}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=_PRIVATE)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def publish(folder: Path, final: Path, record: Record) -> None:
    """Rename a complete folder to its final name, replacing an older one. Lock held."""
    write_record(folder, record)
    old = _removal_path(final)
    if final.exists():
        final.rename(old)
    folder.rename(final)
    shutil.rmtree(old, ignore_errors=True)


def write_record(folder: Path, record: Record) -> None:
    """Write the record atomically."""
    new = folder / f".{RECORD}"
    new.write_text(json.dumps(asdict(record), indent=2))
    new.replace(folder / RECORD)


def read_record(folder: Path) -> Record | None:
    """Read the record; None unless the environment is complete and its interpreter exists."""
    try:
        record = Record(**json.loads((folder / RECORD).read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return record if (folder / record.interpreter).exists() else None


def list_complete(root: Path) -> tuple[tuple[Path, Record], ...]:
    """List complete environments with their records."""
    pairs = ((folder, read_record(folder)) for folder in list_published(root))
    return tuple((folder, record) for folder, record in pairs if record)


def list_published(root: Path) -> list[Path]:
    """List published environments, complete or damaged."""
    folders = sorted(root.iterdir()) if root.is_dir() else []
    return [folder for folder in folders if not folder.name.startswith(".")]


def remove_if_free(folder: Path) -> tuple[str, ...]:
    """Remove an environment and its cache if unused; return its name. Renamed first, at once."""
    root, framework = folder.parent, folder.name.rpartition("-")[0]
    with _lock_if_free(root, framework) as free:
        if not free or not folder.exists():
            return ()
        old = _removal_path(folder)
        folder.rename(old)
        shutil.rmtree(old, ignore_errors=True)
        shutil.rmtree(caches_of(root) / folder.name, ignore_errors=True)
        return (folder.name,)


def remove_leftovers(root: Path, framework: str) -> tuple[str, ...]:
    """Remove unfinished builds and removals of a framework; return their names. Lock held."""
    left = [*root.glob(f".building.{framework}.*"), *root.glob(f".removing.{framework}.*")]
    for folder in left:
        shutil.rmtree(folder, ignore_errors=True)
    return tuple(folder.name for folder in left)


def remove_all_leftovers(root: Path) -> tuple[str, ...]:
    """Remove leftovers of every framework that is not being built."""
    removed: tuple[str, ...] = ()
    left = [*root.glob(".building.*"), *root.glob(".removing.*")]
    for framework in sorted({folder.name.split(".")[2] for folder in left}):
        with _lock_if_free(root, framework) as free:
            removed += remove_leftovers(root, framework) if free else ()
    return removed


@contextlib.contextmanager
def _lock_if_free(root: Path, framework: str) -> Iterator[bool]:
    """Hold the framework's lock if it is free; yield whether it is held."""
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
    """Return True if a visible process runs from the environment or has entered it."""
    prefix = f"{folder}/"
    for process in psutil.process_iter(["cmdline"]):
        if any(prefix in word for word in process.info["cmdline"] or ()):
            return True
    return False


def caches_of(root: Path) -> Path:
    """Return the folder of all writable caches of the environments under root."""
    return home_of(root) / "caches"


def home_of(root: Path) -> Path:
    """Return the folder for files beside the environments under root.

    Next to root if writable; an image's is not: then the user's cache folder, or a temporary one.
    """
    if _can_be_written(root.parent):
        return root.parent
    name = hashlib.sha256(os.fsencode(root)).hexdigest()[:12]
    own = platformdirs.user_cache_path("velodrome") / "beside"
    temporary = Path(tempfile.gettempdir(), f"velodrome-beside-{os.geteuid()}")
    usable = (
        place / name for place in (own, temporary) if _can_be_written(place) and _is_own(place)
    )
    return next(usable, root.parent)


def _can_be_written(folder: Path) -> bool:
    """Return True if it is writable, or can be created."""
    existing = next((place for place in (folder, *folder.parents) if place.exists()), folder)
    return os.access(existing, os.W_OK | os.X_OK)


def _is_own(folder: Path) -> bool:
    """True if it is the user's or missing. Its content is trusted, and its name can be guessed."""
    try:
        return folder.lstat().st_uid == os.geteuid() and not folder.is_symlink()
    except FileNotFoundError:
        return True


def locks_of(root: Path) -> Path:
    """Return the folder of locks for versions that no committed lock has."""
    return root.parent / "locks"


def make_root(root: Path) -> None:
    for folder in (root.parent, root, root / LOCKS, caches_of(root)):
        make_private(folder)


@contextlib.contextmanager
def explain_write_errors(root: Path) -> Iterator[None]:
    """Raise EnvironmentFailed for an OSError: no permission, no space, a file in the way."""
    try:
        yield
    except OSError as error:
        raise EnvironmentFailed(
            f"{error.filename or root} cannot be written ({error.strerror or error}). "
            "Set VELODROME_HOME to a folder of your own with enough space"
        ) from error


def _removal_path(final: Path) -> Path:
    """The name of a folder during its removal."""
    framework, _, name_hash = final.name.rpartition("-")
    old = final.parent / f".removing.{framework}.{name_hash}"
    shutil.rmtree(old, ignore_errors=True)
    return old


def _lock(root: Path, framework: str) -> FileLock:
    return FileLock(root / LOCKS / f"{framework}.lock", mode=0o600)
