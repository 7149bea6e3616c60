"""Renewal of Debian locks: builds a tree of the requirements and lists its packages."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

from velodrome.agents.environments import debian_packages
from velodrome.agents.environments.debian_builds import (
    TREE,
    DebianBuild,
    make_tree,
    require_tools,
)
from velodrome.agents.environments.recipes import Lock, Recipe


def renew_debian(framework: str, recipe: Recipe, environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Write the lock of each platform; a foreign one too if its programs run here.

    EnvironmentFailed if a tree cannot be built.
    """
    require_tools(framework, environ)
    for lock in recipe.locks:
        text = _resolve(framework, recipe, lock, environ)
        lock.path.parent.mkdir(exist_ok=True)
        lock.path.write_text(text)
    return tuple(lock.path for lock in recipe.locks)


def _resolve(framework: str, recipe: Recipe, lock: Lock, environ: Mapping[str, str]) -> str:
    build = DebianBuild(
        framework=framework,
        module=recipe.module,
        suite=recipe.suite,
        lock=lock,
        platform=lock.platforms[0],
        variables=(),
        environ=environ,
    )
    with tempfile.TemporaryDirectory() as place:
        tree = Path(place) / TREE
        make_tree(tree, build, lock.requirements, lambda line: None)
        return debian_packages.format_lock(recipe.suite, debian_packages.read_installed(tree))
