"""A framework's interpreter with all that is installed in it, ready to run workers."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from velodrome.agents.environments.recipes import HASH_LENGTH


@dataclass(frozen=True)
class Environment:
    """hash names what is installed: lock, Python's minor version, platform; or the user's own.

    variables are what the framework's workers need, placeholders filled in. caches is where the
    writable folders of all environments lie; lock is None for an interpreter of the user's. kind:
    `uv`, `source` (packages and a folder of the user's on top), `debian` or `existing`. tree: the
    Debian system that python is part of and is started in (velodrome.agents.environments.launch).
    version: the one asked for, where it is not the committed lock's.
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
    size_bytes: int = field(default=0, compare=False)  # no part of what it is
    tree: Path | None = None
    version: str = ""

    @property
    def name(self) -> str:
        return f"{self.framework}-{self.hash}"

    @property
    def cache_folder(self) -> Path:
        """For what a framework compiles and keeps; never inside the environment itself."""
        return self.caches / self.name


@dataclass(frozen=True)
class Check:
    """What is wrong with an environment, a line per problem, each with a mend where one exists."""

    problems: tuple[str, ...]
    framework_version: str = ""
    log_tail: str = ""

    @property
    def ok(self) -> bool:
        return not self.problems


def environment_hash(lock: bytes, kind: str, python_minor: str, platform: str) -> str:
    digest = hashlib.sha256(lock)
    digest.update(f"\n{kind}\n{python_minor}\n{platform}".encode())
    return digest.hexdigest()[:HASH_LENGTH]


def filled(variables: Mapping[str, str], cache_folder: Path) -> tuple[tuple[str, str], ...]:
    """A recipe's variables with `{cache}` filled in, sorted by name."""
    pairs = sorted(variables.items())
    return tuple((name, value.replace("{cache}", str(cache_folder))) for name, value in pairs)
