"""Interpreters of the frameworks that are already there: the check builds no environment."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from velodrome.agents.environments.existing import NO_GPU, clean_environ, existing_setting
from velodrome.agents.environments.frameworks import find_framework
from velodrome.agents.environments.recipes import read_recipe, variable_for
from velodrome.agents.environments.store import EnvironmentStore

IMPORT_DEADLINE_S = 120.0
REFERENCE = "numpy"


@dataclass(frozen=True)
class FoundInterpreters:
    """Interpreters by framework, the variables that name them, and why the others are missing."""

    pythons: Mapping[str, Path]
    variables: Mapping[str, str]
    missing: Mapping[str, str]


def find_interpreters(
    frameworks: Sequence[str], environ: Mapping[str, str] = os.environ
) -> FoundInterpreters:
    """Find each framework's interpreter: the user's, a built one, or the python3 on PATH.

    NumPy, which computes the references, is imported from this interpreter unless its variable is
    set. RecipeError if there is no such framework.
    """
    variables = {variable_for(REFERENCE): environ.get(variable_for(REFERENCE)) or sys.executable}
    pythons, missing = {}, {}
    for name in frameworks:
        if python := _find_known(name, environ):
            pythons[name] = python
        elif problem := _find_import_problem(name, environ):
            missing[name] = problem
        else:
            pythons[name] = Path(shutil.which("python3") or "")
            variables[variable_for(name)] = str(pythons[name])
    return FoundInterpreters(pythons, variables, missing)


def _find_known(name: str, environ: Mapping[str, str]) -> Path | None:
    recipe = read_recipe(Path(find_framework(name, environ).folder))
    if place := existing_setting(name, recipe, environ):
        return place[0]
    built = EnvironmentStore(environ=environ).find(name, "gpu")
    return built.python if built else None


def _find_import_problem(name: str, environ: Mapping[str, str]) -> str:
    """Describe why the python3 on PATH does not import it; empty if it does."""
    python = shutil.which("python3", path=environ.get("PATH"))
    mend = f"Name an interpreter that imports it: {variable_for(name)}=/path/to/python"
    if python is None:
        return f"there is no python3 on PATH. {mend}"
    module = read_recipe(Path(find_framework(name, environ).folder)).module
    try:
        subprocess.run(
            [python, "-c", f"import {module}"],
            env=clean_environ(environ) | NO_GPU,
            capture_output=True,
            timeout=IMPORT_DEADLINE_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return f"{python} does not import {module}. {mend}"
    return ""
