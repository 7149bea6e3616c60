"""Environments on disk, or a user's interpreter, prepared to run workers."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from velodrome.agents.environments import disk_layout
from velodrome.agents.environments.debian_builds import tree_of
from velodrome.agents.environments.disk_layout import Record
from velodrome.agents.environments.environment import Environment, fill_variables
from velodrome.agents.environments.existing import ask_interpreter
from velodrome.agents.environments.private_folders import make_private
from velodrome.agents.environments.recipes import Lock, Recipe


def load_environment(
    root: Path, folder: Path, record: Record, recipe: Recipe | None, lock: Lock | None
) -> Environment:
    """Load a built one. recipe, lock: the current ones that produce it, or None."""
    environment = Environment(
        framework=record.framework,
        hash=record.hash,
        folder=folder,
        python=folder / record.interpreter,
        lock=lock.path if lock else Path(record.lock),
        kind="source" if record.source else record.kind,
        version=record.version,
        caches=disk_layout.caches_of(root),
        python_version=record.python_version,
        size_bytes=record.size_bytes,
        tree=tree_of(folder) if record.kind == "debian" else None,
    )
    return _with_cache(environment, recipe)


def load_existing(
    root: Path,
    framework: str,
    recipe: Recipe,
    python: Path,
    named_by: str,
    environ: Mapping[str, str],
) -> Environment:
    """Load the user's own interpreter. EnvironmentFailed, with its setting, if it does not run."""
    interpreter = ask_interpreter(python, named_by, environ)
    environment = Environment(
        framework=framework,
        hash=interpreter.hash,
        folder=interpreter.prefix,
        python=interpreter.python,
        lock=None,
        kind="existing",
        caches=disk_layout.caches_of(root),
        python_version=interpreter.version,
    )
    return _with_cache(environment, recipe)


def _with_cache(environment: Environment, recipe: Recipe | None) -> Environment:
    with disk_layout.explain_write_errors(environment.caches):
        make_private(environment.cache_folder)
    variables = fill_variables(recipe.variables, environment.cache_folder) if recipe else ()
    return replace(environment, variables=variables)
