"""An installed environment of a framework, ready to run workers."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from velodrome.agents.environments.recipes import HASH_LENGTH


@dataclass(frozen=True)
class Environment:
    """An interpreter with installed packages. hash: of lock, Python minor version and platform.

    variables: those of the framework's workers, placeholders filled in. caches: the folder of all
    writable folders. lock: None for a user's own interpreter. kind: `uv`, `source` (packages and
    the user's folder on top), `debian` or `existing`. tree: the Debian system that contains python
    (velodrome.agents.environments.launch). version: the requested one, if it is not the committed
    lock's.
    """

    framework: str
    hash: str
    folder: Path
    python: Path
    lock: Path | None
    kind: str = "uv"
    caches: Path = Path()
    variables: tuple[tuple[str, str], ...] = ()
    python_version: str = ""
    size_bytes: int = field(default=0, compare=False)  # no part of its identity
    tree: Path | None = None
    version: str = ""

    @property
    def name(self) -> str:
        return f"{self.framework}-{self.hash}"

    @property
    def cache_folder(self) -> Path:
        """Folder for files that a framework compiles; never inside the environment."""
        return self.caches / self.name


@dataclass(frozen=True)
class Check:
    """The problems of an environment, one per line, each with a fix if there is one."""

    problems: tuple[str, ...]
    framework_version: str = ""
    log_tail: str = ""

    @property
    def ok(self) -> bool:
        return not self.problems


def environment_hash(lock: bytes, kind: str, python_minor: str, platform: str) -> str:
    """Hash all that decides an environment's content."""
    digest = hashlib.sha256(lock)
    digest.update(f"\n{kind}\n{python_minor}\n{platform}".encode())
    return digest.hexdigest()[:HASH_LENGTH]


def fill_variables(variables: Mapping[str, str], cache_folder: Path) -> tuple[tuple[str, str], ...]:
    """Fill `{cache}` in a recipe's variables, sorted by name."""
    pairs = sorted(variables.items())
    return tuple((name, value.replace("{cache}", str(cache_folder))) for name, value in pairs)
