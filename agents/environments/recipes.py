"""A framework's recipe, `environment.toml`: parsed and validated."""

import difflib
import hashlib
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from velodrome.agents.environments.accelerators import NAME, rank

FILE_NAME = "environment.toml"
HASH_LENGTH = 12
_STRICT = ConfigDict(extra="forbid")

Minor = Annotated[str, Field(pattern=r"^3\.[0-9]+$")]
Device = Literal["cpu", "gpu"]
Accelerator = Annotated[str, Field(pattern=rf"^({NAME})$")]


class RecipeError(Exception):
    """A faulty environment.toml, or its folder; its author can fix it.

    Exit status 2. where is `file` or `file:key`.
    """

    def __init__(self, where: str, problem: str, mend: str) -> None:
        super().__init__(f"{where}: {problem}. {mend}")


def _as_tuple(value: Any) -> Any:
    """Return a tuple; a single string stands for a list of one."""
    return (value,) if isinstance(value, str) else value


Strings = Annotated[tuple[str, ...], BeforeValidator(_as_tuple)]


def variable_for(framework: str, what: str = "PYTHON") -> str:
    """Return the name of a framework's variable, such as VELODROME_PYTHON_NUMPY."""
    return f"VELODROME_{what}_{framework.upper().replace('-', '_')}"


@dataclass(frozen=True, config=_STRICT)
class Source:
    """A source folder of the user's, installed on top of a lock's packages.

    what: its description, for the error if none is named. contains: a file that identifies it.
    prepare: a command run in a copy before its installation; `{environment}` stands for the
    environment's folder.
    """

    what: str
    contains: str = "setup.py"
    prepare: Strings = ()


@dataclass(frozen=True)
class Checkout:
    """A source folder on this node, and the hash of its content."""

    folder: Path
    hash: str


@dataclass(frozen=True, config=_STRICT)
class StubLibrary:
    """A shared library that a package links against and never calls (see stub_libraries).

    file: its name. into: its folder in site-packages. symbols: all that the loader looks up in it.
    """

    file: Annotated[str, Field(pattern=r"^[\w.+-]+$")]
    into: Annotated[str, Field(pattern=r"^\w[\w/-]*$")]
    symbols: Strings = ()


@dataclass(frozen=True, config=_STRICT)
class Lock:
    """One committed lock: exact versions with their sha256 hashes, and where it serves.

    devices: the accelerators that it serves: `cpu`, `cuda13` (and newer drivers), or `gpu` for any.
    platforms: such as `linux-x86_64`; empty: any. capability: the lowest compute capability of GPUs
    that its packages have kernels for; empty: not stated. python: its minors, the preferred first.
    size_mb: of the finished environment; download_mb: of a cold build; 0: unknown. mend: how the
    user can make this lock's packages available, stated when the next lock is used instead.
    libraries: stubs for those that no package has.
    """

    file: str
    devices: Annotated[tuple[Accelerator, ...], BeforeValidator(_as_tuple)]
    python: tuple[Minor, ...]
    requirements: Strings = ()
    platforms: Strings = ()
    capability: Annotated[str, Field(pattern=r"^([0-9]+\.[0-9])?$")] = ""
    size_mb: int = Field(default=0, ge=0)
    download_mb: int = Field(default=0, ge=0)
    mend: str = ""
    path: Path = Path()
    checkout: Checkout | None = None
    libraries: tuple[StubLibrary, ...] = ()

    @property
    def text(self) -> bytes:
        return self.path.read_bytes()

    @property
    def identity(self) -> bytes:
        """All that decides the result: its text, and the content installed on top."""
        source = f"\nsource {self.checkout.hash}".encode() if self.checkout else b""
        return self.text + source + "".join(f"\n{library}" for library in self.libraries).encode()


@dataclass(frozen=True, config=_STRICT)
class Recipe:
    """The content of environment.toml.

    kind `uv`: the first of its locks that serves the platform and is found is installed. kind
    `debian`: the same with packages of one Debian suite, whose Python it uses. kind `existing`:
    python is an interpreter's path; or there is a source folder, which the user names, and locks of
    its dependencies, as in `uv`. module: imported to prove that an environment works. variables may
    contain `{cache}`, the environment's writable folder. variants and devices: for the user's own
    frameworks; Velodrome's are in adapters.registry.
    """

    kind: Literal["uv", "debian", "existing"]
    about: str
    module: str
    suite: str = ""
    python: Strings = ()
    libraries: tuple[StubLibrary, ...] = ()  # before the locks, so that its own errors come first
    locks: tuple[Lock, ...] = ()
    source: Source | None = None
    variables: dict[str, str] = Field(default_factory=dict)
    variants: Strings = ("default",)
    devices: Annotated[tuple[Device, ...], BeforeValidator(_as_tuple)] = ("cpu",)
    file: Path = Path()

    def locks_for(self, accelerator: str, platform: str = "") -> tuple[Lock, ...]:
        """List locks by preference, the newest CUDA first. No platform: of all platforms."""
        ranked = [(rank(accelerator, lock.devices), lock) for lock in self.locks]
        fitting = [
            (found, lock)
            for found, lock in ranked
            if found is not None
            and (not platform or not lock.platforms or platform in lock.platforms)
        ]
        return tuple(lock for _, lock in sorted(fitting, key=lambda pair: pair[0]))

    def lock_hash(self, device: str) -> str:
        """Hash kind, every lock for the device in order, and their Pythons; equal everywhere.

        All locks count, because only a node knows which of them it can install.
        """
        digest = hashlib.sha256(self.kind.encode())
        for lock in self.locks_for(device):
            digest.update(f"\n{lock.file} {' '.join(lock.python)}\n".encode())
            digest.update(lock.identity)
        return digest.hexdigest()[:HASH_LENGTH]


_RECIPE = TypeAdapter(Recipe)


def read_recipe(folder: Path, *, locked: bool = True) -> Recipe:
    """Read a framework's recipe. RecipeError names the file, the key and the fix.

    locked: every lock that it names must exist.
    """
    file = folder / FILE_NAME
    try:
        fields = tomllib.loads(file.read_text())
    except FileNotFoundError:
        mend = f"Write one: kind, about, python, locks (see {FILE_NAME} of numpy)"
        raise RecipeError(str(file), "there is no such file", mend) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise RecipeError(str(file), f"cannot be read: {error}", "Correct it there") from error
    fields.setdefault("module", folder.name)
    fields["file"] = file
    _complete_locks(fields, folder)
    try:
        recipe = _RECIPE.validate_python(fields)
    except ValidationError as error:
        raise _explain(file, error) from error
    _require_whole(recipe)
    if locked:
        _require_locks(recipe)
    return recipe


def _complete_locks(fields: dict[str, Any], folder: Path) -> None:
    """Add to each lock the recipe's Pythons, unless it has its own, and its file in locks/.

    The recipe's libraries are added to each.
    """
    locks = fields.get("locks", [])
    for lock in locks if isinstance(locks, list) else []:
        if isinstance(lock, dict):
            lock.setdefault("python", fields.get("python", []))
            lock["path"] = folder / "locks" / str(lock.get("file", ""))
            lock.setdefault("libraries", fields.get("libraries", []))


def _require_whole(recipe: Recipe) -> None:
    """Check rules across several fields."""
    file = str(recipe.file)
    if recipe.kind == "existing" and not recipe.source and len(recipe.python) != 1:
        mend = 'Give the path of one interpreter: python = "/path/to/bin/python"'
        raise RecipeError(f"{file}:python", "kind existing has no interpreter", mend)
    if recipe.source and recipe.kind != "existing":
        mend = 'Set kind = "existing"'
        raise RecipeError(f"{file}:source", f"kind {recipe.kind} has a source", mend)
    if (recipe.kind == "debian") != bool(recipe.suite):
        mend = 'Set kind = "debian" and a suite such as "bullseye"; other kinds have no suite'
        raise RecipeError(f"{file}:suite", f"kind {recipe.kind} does not match it", mend)
    if (recipe.kind != "existing" or recipe.source) and not recipe.locks:
        mend = 'Add [[locks]] with file = "universal-cpu.txt" and devices = ["cpu"]'
        raise RecipeError(f"{file}:locks", f"kind {recipe.kind} has no lock", mend)
    for index, lock in enumerate(recipe.locks):
        where = f"{file}:locks.{index}"
        if recipe.kind == "debian" and len(lock.platforms) != 1:
            mend = 'Add platforms = ["linux-x86_64"], and a lock for each other platform'
            raise RecipeError(f"{where}.platforms", "a Debian lock has one platform", mend)
        if not lock.python:
            raise RecipeError(f"{where}.python", "there is no Python", 'Add python = ["3.12"]')
    if not recipe.variants or not recipe.devices:
        raise RecipeError(file, "variants and devices may not be empty", "Leave the key out")


def _require_locks(recipe: Recipe) -> None:
    for index, lock in enumerate(recipe.locks):
        if not lock.path.is_file():
            mend = f"Make it: velodrome envs lock {recipe.file.parent.name}"
            raise RecipeError(
                f"{recipe.file}:locks.{index}.file", f"{lock.path} does not exist", mend
            )


def _explain(file: Path, error: ValidationError) -> RecipeError:
    # A mistyped key is missing too; report it as typed.
    first = min(error.errors(), key=lambda e: e["type"] != "unexpected_keyword_argument")
    key = ".".join(str(part) for part in first["loc"])
    name = str(first["loc"][-1])
    if first["type"] == "unexpected_keyword_argument":
        return RecipeError(f"{file}:{key}", "no such key", did_you_mean(name, _keys(first["loc"])))
    if first["type"] == "missing":
        return RecipeError(f"{file}:{key}", "the key is missing", f"Add {name} = ...")
    mend = first["msg"]
    if first["type"].startswith("string_p"):
        of_device = "devices" in first["loc"]
        mend = "Give cpu, gpu or cuda13" if of_device else 'Give a minor version: "3.12"'
    return RecipeError(f"{file}:{key}", f"{first['input']!r:.80} is not valid", mend)


def _keys(place: tuple[int | str, ...]) -> Iterable[str]:
    owner: type = {"locks": Lock, "libraries": StubLibrary, "source": Source}.get(
        str(place[0]), Recipe
    )
    own = ("path", "checkout") if owner is Lock else ("file",) if owner is Recipe else ()
    return (name for name in owner.__annotations__ if name not in own)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a sentence with the nearest name."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    return f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(names)}"
