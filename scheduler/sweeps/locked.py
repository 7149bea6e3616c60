"""What the environment of a framework asks of a node, as the framework's locks say."""

import os
from collections.abc import Mapping
from pathlib import Path

from velodrome.adapters.registry import Framework
from velodrome.agents.environments.existing import pointed_at
from velodrome.agents.environments.recipes import Lock, RecipeError, read_recipe
from velodrome.agents.environments.versions import split
from velodrome.scheduler.sweeps.parts import Locked

MB = 1_000_000  # as environment.toml counts


def locked_of(framework: Framework, environ: Mapping[str, str] = os.environ) -> tuple[Locked, ...]:
    """Per device that it has locks for. None where the user points at an interpreter.

    Nothing is asked where the recipe cannot be read either: whoever builds from it says why.
    """
    try:
        recipe = read_recipe(Path(framework.folder), locked=False)
    except RecipeError:
        return ()
    if pointed_at(split(framework.name)[0], recipe, environ):
        return ()
    locks = {device: recipe.locks_for(device) for device in framework.devices}
    return tuple(_locked(device, found) for device, found in locks.items() if found)


def _locked(device: str, locks: tuple[Lock, ...]) -> Locked:
    anywhere = any(not lock.platforms for lock in locks)
    platforms = dict.fromkeys(platform for lock in locks for platform in lock.platforms)
    sizes_mb = [lock.size_mb for lock in locks]
    return Locked(device, () if anywhere else tuple(platforms), min(sizes_mb) * MB)
