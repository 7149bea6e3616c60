"""Locks of frameworks at versions that no committed lock has: `torch==2.12.1`.

A lock is made once, where its version is first requested, and stored by its content: so it can be
carried to other nodes and back, and is equal there. In one folder:

<framework>==<version>/<hash>/<lock file>    a recipe's locks at that version
<framework>==<version>/<device>              the hash of the locks chosen for the version here
"""

import os
import re
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from filelock import FileLock

from velodrome.agents.environments.accelerators import correct_accelerators
from velodrome.agents.environments.failures import EnvironmentFailed
from velodrome.agents.environments.private_folders import make_private
from velodrome.agents.environments.recipes import Lock, Recipe

SEPARATOR = "=="
VERSION = re.compile(r"[0-9][A-Za-z0-9.!+_-]*")
_HASH = re.compile(r"\w{1,64}")
_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*\.txt")
# All that a lock of ours holds: pins, perhaps with a marker, their hashes, comments.
_LINE = re.compile(
    r"""[A-Za-z0-9._-]+(\[[\w,.-]+\])?==[\w.!+*-]+( ; ((?! --)[\w .'"<>=!()*+-])+?)?( \\)?"""
    r"|    --hash=sha256:[0-9a-f]{64}( \\)?|#.*|"
)
_PIN = re.compile(r"([A-Za-z0-9._-]+(?:\[[^\]]*\])?)==([^\s;+]+)(\+[^\s;]+)?(.*)")

Texts = tuple[tuple[str, str], ...]  # of lock files, by name


def split(framework: str) -> tuple[str, str]:
    """Split `torch==2.12.1` into name and version; the version may be empty."""
    name, _, version = framework.partition(SEPARATOR)
    return name, version


def join(name: str, version: str) -> str:
    """Join a name and a version; the inverse of split."""
    return f"{name}{SEPARATOR}{version}" if version else name


class VersionLocks:
    """The version locks of one folder. A framework's name includes its version here."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def chosen_hash(self, framework: str, device: str) -> str:
        """Return the hash of the locks chosen for the version here; empty: none yet."""
        try:
            return (self._folder / framework / device).read_text().strip()
        except OSError:
            return ""

    def choose(self, framework: str, device: str, lock_hash: str) -> None:
        """Choose the locks for a version here."""
        _write(self._folder / framework / device, lock_hash)

    def texts(self, framework: str, lock_hash: str) -> Texts:
        """Return the lock files; empty if they are not here."""
        folder = self._folder / framework / lock_hash
        return tuple((path.name, path.read_text()) for path in sorted(folder.glob("*.txt")))

    def keep(self, framework: str, lock_hash: str, texts: Texts) -> None:
        """Store all files or none, even if the process dies meanwhile.

        They come from other machines and results folders, and their packages are installed and run:
        EnvironmentFailed unless they contain only pinned packages with hashes.
        """
        final = self._folder / framework / lock_hash
        if final.is_dir():
            return
        _require_plain(framework, lock_hash, texts)
        make_private(final.parent)
        with tempfile.TemporaryDirectory(dir=final.parent, prefix=".") as place:
            temporary = Path(place) / "made"
            temporary.mkdir()
            for name, text in texts:
                (temporary / name).write_text(text)
            if not final.is_dir():
                temporary.rename(final)

    def apply_to(self, recipe: Recipe, framework: str, lock_hash: str) -> Recipe:
        """Return the recipe at the version, with those of its locks that are here."""
        _, version = split(framework)
        folder = self._folder / framework / lock_hash
        locks = tuple(
            _move_lock(lock, version, folder / lock.file)
            for lock in recipe.locks
            if lock_hash and (folder / lock.file).is_file()
        )
        return replace(recipe, locks=locks)

    def lock(self) -> FileLock:
        """Return the lock to hold while adding locks here."""
        make_private(self._folder)
        return FileLock(self._folder / ".lock", mode=0o600)

    def copy_to(self, other: "VersionLocks", framework: str, device: str) -> None:
        """Copy the locks chosen for a version, and choose them there."""
        lock_hash = self.chosen_hash(framework, device)
        if lock_hash:
            other.keep(framework, lock_hash, self.texts(framework, lock_hash))
            other.choose(framework, device, lock_hash)

    def clear(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)


def _move_lock(lock: Lock, version: str, path: Path) -> Lock:
    """Return the lock at a version, whose text is at a path."""
    devices = correct_accelerators(lock.devices, path.read_text())
    return replace(lock, requirements=at_version(lock, version), path=path, devices=devices)


def at_version(lock: Lock, version: str) -> tuple[str, ...]:
    """Return the lock's requirements with the framework at another version.

    The framework is the first requirement, and every one pinned to the same version, as jaxlib is
    with jax. A local version such as +cpu, which selects the build, stays.
    """
    own = _PIN.fullmatch(lock.requirements[0]) if lock.requirements else None
    return tuple(_move_pin(text, own[2] if own else "", version) for text in lock.requirements)


def loosen(requirements: Iterable[str], version: str) -> tuple[str, ...]:
    """Remove the pins of other packages: they were chosen for another version."""
    found = []
    for text in requirements:
        pin = _PIN.fullmatch(text)
        keep = pin is None or version.partition("+")[0] == pin[2]
        found.append(text if keep or pin is None else f"{pin[1]}{pin[4]}")
    return tuple(found)


def _move_pin(requirement: str, before: str, version: str) -> str:
    pin = _PIN.fullmatch(requirement)
    if pin is None or pin[2] != before:
        return requirement
    local = "" if "+" in version else pin[3] or ""
    return f"{pin[1]}=={version}{local}{pin[4]}"


def _require_plain(framework: str, lock_hash: str, texts: Texts) -> None:
    name, version = split(framework)
    is_place = "/" not in name and VERSION.fullmatch(version) and _HASH.fullmatch(lock_hash)
    if not is_place or not all(_FILE.fullmatch(file) for file, _ in texts):
        raise EnvironmentFailed(f"{framework!r:.80} is not a framework at a version. Lock it again")
    for file, text in texts:
        for number, line in enumerate(text.splitlines(), 1):
            if not _LINE.fullmatch(line):
                problem = f"is not a pinned package: {line!r:.80}. Lock it again"
                raise EnvironmentFailed(f"{file}:{number} of {framework} {problem}")


def _write(path: Path, text: str) -> None:
    make_private(path.parent)
    new = path.with_name(f".{path.name}.{os.getpid()}")
    new.write_text(text + "\n")
    new.replace(path)
