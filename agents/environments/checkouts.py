"""A framework's source folder named by the user: located, hashed, copied.

It is never written to: an environment is built from a copy.
"""

import hashlib
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from velodrome.agents.environments.failures import EnvironmentFailed
from velodrome.agents.environments.recipes import HASH_LENGTH, Checkout, Recipe, variable_for

# Files of version control, Python and earlier builds are no part of a folder's content.
_NO_CONTENT = shutil.ignore_patterns(".git", ".hg", ".svn", "__pycache__", "*.pyc", "*.egg-info")
_NO_CONTENT_AT_TOP = ("build", "dist")


@dataclass(frozen=True)
class SourceSetting:
    """A source folder, and the variable that names it."""

    folder: Path
    variable: str


def source_variable(framework: str) -> str:
    """Return the name of the variable for a framework's source folder."""
    return variable_for(framework, "SOURCE")


def source_setting(framework: str, environ: Mapping[str, str]) -> SourceSetting | None:
    """Return the source folder that the user names, if any."""
    variable = source_variable(framework)
    text = environ.get(variable, "")
    return SourceSetting(Path(text).expanduser(), variable) if text else None


def with_checkout(recipe: Recipe, framework: str, environ: Mapping[str, str]) -> Recipe:
    """Add the user's source to the recipe's locks; unchanged if it is missing or invalid."""
    place = source_setting(framework, environ)
    if recipe.source is None or place is None or _source_problem(place, recipe):
        return recipe
    checkout = Checkout(place.folder.absolute(), content_hash(place.folder))
    return replace(recipe, locks=tuple(replace(lock, checkout=checkout) for lock in recipe.locks))


def require_checkout(framework: str, recipe: Recipe, environ: Mapping[str, str]) -> None:
    """Raise EnvironmentFailed if a needed source is missing or invalid."""
    if recipe.source is None:
        return
    place = source_setting(framework, environ)
    if place is None:
        raise EnvironmentFailed(
            f"{framework} is built from your own source folder, and none is set. Get "
            f"{recipe.source.what}, then set it: "
            f"export {source_variable(framework)}=/path/to/{framework}. Or set "
            f"{variable_for(framework)} to an interpreter that has {framework}"
        )
    problem = _source_problem(place, recipe)
    if problem:
        raise EnvironmentFailed(
            f"{place.variable} names {place.folder}, {problem}. Set it to {recipe.source.what}"
        )


def content_hash(folder: Path) -> str:
    """Hash every file's path and bytes, not its owner or time."""
    digest = hashlib.sha256()
    for path in sorted(_files(folder, folder)):
        own = str(path.readlink()).encode() if path.is_symlink() else path.read_bytes()
        digest.update(f"{path.relative_to(folder)}\0{len(own)}\0".encode())
        digest.update(own)
    return digest.hexdigest()[:HASH_LENGTH]


def copy(checkout: Checkout, to: Path) -> None:
    """Copy the source. EnvironmentFailed if the copy's hash differs: the source is changing."""
    shutil.copytree(
        checkout.folder,
        to,
        symlinks=True,
        ignore=lambda place, names: _left_out(Path(place), checkout.folder, names),
    )
    if content_hash(to) != checkout.hash:
        raise EnvironmentFailed(f"{checkout.folder} changed while it was copied. Build again")


def _source_problem(place: SourceSetting, recipe: Recipe) -> str:
    """Describe the folder's problem, as the rest of a sentence; empty if there is none."""
    wanted = recipe.source.contains if recipe.source else ""
    if not place.folder.is_dir():
        return "which is not a folder"
    return "" if (place.folder / wanted).exists() else f"which has no {wanted}"


def _left_out(place: Path, top: Path, names: list[str]) -> set[str]:
    built = [name for name in names if place == top and name in _NO_CONTENT_AT_TOP]
    return {*_NO_CONTENT(str(place), names), *built}


def _files(place: Path, top: Path) -> Iterator[Path]:
    """Files and links at any depth."""
    names = [path.name for path in place.iterdir()]
    for name in sorted(set(names) - _left_out(place, top, names)):
        path = place / name
        if path.is_dir() and not path.is_symlink():
            yield from _files(path, top)
        else:
            yield path
