"""Locks of a framework at another version, made as `envs lock` makes the committed ones."""

import itertools
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from velodrome.agents.environments import uv_messages
from velodrome.agents.environments.failures import EnvironmentFailed
from velodrome.agents.environments.locking import resolve, resolve_here
from velodrome.agents.environments.pip_configuration import PackageSources, read_sources
from velodrome.agents.environments.recipes import Lock, Recipe
from velodrome.agents.environments.versions import (
    VERSION,
    Texts,
    VersionLocks,
    at_version,
    loosen,
    split,
)

Resolve = Callable[[Lock, PackageSources, Mapping[str, str]], str]


def lock_at_version(
    locks: VersionLocks,
    recipe: Recipe,
    framework: str,
    device: str,
    environ: Mapping[str, str],
) -> str:
    """Return the hash of the locks for the version here; make them if missing.

    EnvironmentFailed if no lock of the recipe can be resolved at that version.
    """
    found = locks.chosen_hash(framework, device)
    if found:
        return found
    _require_possible(recipe, framework)
    with locks.lock():
        found = locks.chosen_hash(framework, device)
        if found:
            return found
        texts = _resolve(recipe, framework, device, environ)
        found = _compute_hash(recipe, framework, device, texts)
        locks.keep(framework, found, texts)
        locks.choose(framework, device, found)
        return found


def _require_possible(recipe: Recipe, framework: str) -> None:
    name, version = split(framework)
    if recipe.kind != "uv":
        raise EnvironmentFailed(
            f"{name} has no other versions: its environment is of kind {recipe.kind}. Use {name}"
        )
    if not VERSION.fullmatch(version):
        raise EnvironmentFailed(f"{version!r} is not a version. Write it like {name}==1.2.3")


def _resolve(recipe: Recipe, framework: str, device: str, environ: Mapping[str, str]) -> Texts:
    _, version = split(framework)
    sources = read_sources(environ)
    texts, failures = [], []
    for lock in recipe.locks_for(device):
        pinned = at_version(lock, version)
        choices = dict.fromkeys((pinned, loosen(pinned, version)))
        for requirements, way in itertools.product(choices, _ways(sources)):
            try:
                text = way(replace(lock, requirements=requirements), sources, environ)
            except EnvironmentFailed as failure:
                failures.append(failure)
            else:
                texts.append((lock.file, text))
                break
    if texts:
        return tuple(texts)
    if not failures:
        raise EnvironmentFailed(f"{framework}: no lock serves {device}. Use another device")
    tail = uv_messages.log_tail(failures[-1].log_tail)
    missing = uv_messages.not_found(failures[-1].log_tail)
    why = f"{missing} was not found" if missing else uv_messages.cause(failures[-1].log_tail)
    raise EnvironmentFailed(
        f"{framework} cannot be locked: {why}. Use an existing version, and check the network "
        f"and `pip config list`",
        tail,
    )


def _ways(sources: PackageSources) -> tuple[Resolve, ...]:
    """The default index knows most hashes; this machine may have what it lacks."""
    return (resolve_here,) if sources.no_index else (resolve, resolve_here)


def _compute_hash(recipe: Recipe, framework: str, device: str, texts: Texts) -> str:
    """Compute the hash that Recipe.lock_hash will return for them."""
    with tempfile.TemporaryDirectory() as place:
        locks = VersionLocks(Path(place))
        locks.keep(framework, "temporary", texts)
        return locks.apply_to(recipe, framework, "temporary").lock_hash(device)
