"""What the environment of a framework asks of a node, as the framework's locks say."""

import os
from collections.abc import Mapping
from pathlib import Path

from velodrome.adapters.registry import Framework
from velodrome.agents.environments.existing import pointed_at
from velodrome.agents.environments.recipes import RecipeError, read_recipe
from velodrome.agents.environments.versions import split
from velodrome.scheduler.sweeps.sweep import LockRequirement

MB = 1_000_000  # as environment.toml counts


def read_lock_requirements(
    framework: Framework, environ: Mapping[str, str] = os.environ
) -> tuple[LockRequirement, ...]:
    """Of each lock, per device that it serves. None where the user points at an interpreter.

    Nothing is asked where the recipe cannot be read either: whoever builds from it says why.
    """
    try:
        recipe = read_recipe(Path(framework.folder), locked=False)
    except RecipeError:
        return ()
    if pointed_at(split(framework.name)[0], recipe, environ):
        return ()
    return tuple(
        LockRequirement(device, lock.platforms, lock.size_mb * MB, lock.devices, lock.file)
        for device in framework.devices
        for lock in recipe.locks_for(device)
    )
