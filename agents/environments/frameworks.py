"""The available frameworks: Velodrome's and the user's own."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from velodrome.adapters.registry import FRAMEWORKS, Framework
from velodrome.agents.environments.recipes import FILE_NAME, RecipeError, did_you_mean, read_recipe
from velodrome.agents.environments.versions import VERSION, split

VARIABLE = "VELODROME_ADAPTERS"
ADAPTER_FILE = "adapter.py"
# A name is part of a folder's name and, in upper case, of a variable's; so it has no dot.
_NAME = re.compile(r"[a-z][a-z0-9_-]*")


def available_frameworks(environ: Mapping[str, str] = os.environ) -> dict[str, Framework]:
    """List frameworks by name: Velodrome's, then those in the folders of VELODROME_ADAPTERS.

    RecipeError if one of the user's is broken or its name is taken.
    """
    frameworks = dict(FRAMEWORKS)
    for folder in _folders(environ):
        for framework in _read_folder(folder):
            if framework.name in frameworks:
                taken = frameworks[framework.name].folder
                mend = "Rename the folder"
                where = str(Path(framework.folder))
                raise RecipeError(where, f"the name {framework.name!r} is taken by {taken}", mend)
            frameworks[framework.name] = framework
    return frameworks


def find_framework(named: str, environ: Mapping[str, str] = os.environ) -> Framework:
    """Find a framework, at any version. RecipeError with the nearest name if there is none."""
    frameworks = available_frameworks(environ)
    name, _ = split(named)
    if name not in frameworks:
        raise RecipeError("framework", f"there is no {name!r}", did_you_mean(name, frameworks))
    return frameworks[name]


def with_version(frameworks: Mapping[str, Framework], named: str) -> dict[str, Framework]:
    """Add the framework of a name such as `torch==2.12.1`, under that name."""
    name, version = split(named)
    if name not in frameworks or not VERSION.fullmatch(version):
        return dict(frameworks)
    return {**frameworks, named: frameworks[name]._replace(name=named)}


def _folders(environ: Mapping[str, str]) -> list[Path]:
    return [Path(part).expanduser() for part in environ.get(VARIABLE, "").split(os.pathsep) if part]


def _read_folder(parent: Path) -> list[Framework]:
    """Read the frameworks of a folder: each subfolder with an adapter or a recipe."""
    if not parent.is_dir():
        mend = f"Correct {VARIABLE}: folders of frameworks, separated by {os.pathsep!r}"
        raise RecipeError(str(parent), "is not a folder", mend)
    found = [
        folder
        for folder in sorted(parent.iterdir())
        if (folder / ADAPTER_FILE).is_file() or (folder / FILE_NAME).is_file()
    ]
    if not found:
        mend = f"Put <name>/{ADAPTER_FILE} and <name>/{FILE_NAME} there, or correct {VARIABLE}"
        raise RecipeError(str(parent), "contains no framework", mend)
    return [_read(folder.resolve()) for folder in found]


def _read(folder: Path) -> Framework:
    name = folder.name
    if not _NAME.fullmatch(name):
        mend = "Use lower-case letters, digits, - and _, a letter first"
        raise RecipeError(str(folder), f"{name!r} is not a valid framework name", mend)
    if not (folder / ADAPTER_FILE).is_file():
        mend = "Write a class Adapter there (velodrome.adapters.contract)"
        raise RecipeError(str(folder / ADAPTER_FILE), "there is no such file", mend)
    recipe = read_recipe(folder, locked=False)
    # The folder itself is put on the worker's path, not its parent: a folder `jax` on the path
    # would hide, or be hidden by, the package `jax` that its adapter imports.
    return Framework(
        name=name,
        about=recipe.about,
        variants=recipe.variants,
        devices=recipe.devices,
        adapter=Path(ADAPTER_FILE).stem,
        folder=str(folder),
        path=str(folder),
    )
