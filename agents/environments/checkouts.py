"""A framework's source folder that the user names: found, told apart by its content, copied.

It is never written to: an environment is built from a copy.
"""

import hashlib
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from velodrome.agents.environments.failures import EnvironmentFailed
from velodrome.agents.environments.recipes import HASH_LENGTH, Checkout, Recipe, variable_for

# What version control, Python and earlier builds leave in a folder is no part of its content.
_NO_CONTENT = shutil.ignore_patterns(".git", ".hg", ".svn", "__pycache__", "*.pyc", "*.egg-info")
_NO_CONTENT_AT_TOP = ("build", "dist")


@dataclass(frozen=True)
class Named:
    """The folder that a variable names, and that variable."""

    folder: Path
    variable: str


def source_variable(framework: str) -> str:
    """The variable that names a framework's source folder."""
    return variable_for(framework, "SOURCE")


def named(framework: str, environ: Mapping[str, str]) -> Named | None:
    variable = source_variable(framework)
    text = environ.get(variable, "")
    return Named(Path(text).expanduser(), variable) if text else None


def with_checkout(recipe: Recipe, framework: str, environ: Mapping[str, str]) -> Recipe:
    """Its locks completed by the source that the user names; unchanged if that will not do."""
    place = named(framework, environ)
    if recipe.source is None or place is None or _trouble(place, recipe):
        return recipe
    checkout = Checkout(place.folder.absolute(), content_hash(place.folder))
    return replace(recipe, locks=tuple(replace(lock, checkout=checkout) for lock in recipe.locks))


def require_checkout(framework: str, recipe: Recipe, environ: Mapping[str, str]) -> None:
    """EnvironmentFailed says how to give a source, or what is wrong with the one that is named."""
    if recipe.source is None:
        return
    place = named(framework, environ)
    if place is None:
        raise EnvironmentFailed(
            f"{framework} is built from a folder of yours, and none is named. Get "
            f"{recipe.source.what}, then name it: "
            f"export {source_variable(framework)}=/path/to/{framework}. Or let "
            f"{variable_for(framework)} name an interpreter that has {framework}"
        )
    trouble = _trouble(place, recipe)
    if trouble:
        raise EnvironmentFailed(
            f"{place.variable} names {place.folder}, {trouble}. Name {recipe.source.what}"
        )


def content_hash(folder: Path) -> str:
    """Of every file's path and bytes, whoever owns them and whenever they were written."""
    digest = hashlib.sha256()
    for path in sorted(_files(folder, folder)):
        own = str(path.readlink()).encode() if path.is_symlink() else path.read_bytes()
        digest.update(f"{path.relative_to(folder)}\0{len(own)}\0".encode())
        digest.update(own)
    return digest.hexdigest()[:HASH_LENGTH]


def copy(checkout: Checkout, to: Path) -> None:
    """EnvironmentFailed if what was copied is not what was hashed: somebody is at work on it."""
    shutil.copytree(
        checkout.folder,
        to,
        symlinks=True,
        ignore=lambda place, names: _left_out(Path(place), checkout.folder, names),
    )
    if content_hash(to) != checkout.hash:
        raise EnvironmentFailed(f"{checkout.folder} changed while it was copied. Build again")


def _trouble(place: Named, recipe: Recipe) -> str:
    """What keeps the folder from being the source, as the rest of a sentence; empty if nothing."""
    wanted = recipe.source.contains if recipe.source else ""
    if not place.folder.is_dir():
        return "which is no folder"
    return "" if (place.folder / wanted).exists() else f"which has no {wanted}"


def _left_out(place: Path, top: Path, names: list[str]) -> set[str]:
    built = [name for name in names if place == top and name in _NO_CONTENT_AT_TOP]
    return {*_NO_CONTENT(str(place), names), *built}


def _files(place: Path, top: Path) -> Iterator[Path]:
    """Files and links, in folders of any depth."""
    names = [path.name for path in place.iterdir()]
    for name in sorted(set(names) - _left_out(place, top, names)):
        path = place / name
        if path.is_dir() and not path.is_symlink():
            yield from _files(path, top)
        else:
            yield path
