"""A user's own interpreter, in place of an environment that Velodrome builds."""

import hashlib
import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from velodrome.agents.environments.failures import EnvironmentFailed
from velodrome.agents.environments.recipes import HASH_LENGTH, Recipe, variable_for

PROBE_DEADLINE_S = 60
# For checks: a build for GPUs can be imported without one, and a present GPU may be in use by a
# measurement.
NO_GPU = {"CUDA_VISIBLE_DEVICES": ""}

# Names of folders, not importlib.metadata: that is missing in 3.6, and reads every file.
_PROBE = """
import json, os, sys
found = set()
for place in sys.path:
    if os.path.isdir(place):
        names = os.listdir(place)
        found.update(n for n in names if n.endswith((".dist-info", ".egg-info", ".egg-link")))
print(json.dumps([os.path.realpath(sys.executable), sys.version, sys.prefix, sorted(found)]))
"""


@dataclass(frozen=True)
class ExistingInterpreter:
    """Properties of a tested interpreter. distributions: names of metadata folders."""

    python: Path
    version: str
    prefix: Path
    hash: str
    distributions: tuple[str, ...]


def existing_setting(
    framework: str, recipe: Recipe, environ: Mapping[str, str]
) -> tuple[Path, str] | None:
    """Return the user's interpreter and the setting that names it; None: use a built one."""
    variable = variable_for(framework)
    if environ.get(variable):
        return Path(environ[variable]).expanduser(), variable
    if recipe.kind == "existing" and not recipe.source:
        python = recipe.file.parent / Path(recipe.python[0]).expanduser()
        return python, f"{recipe.file}:python"
    return None


def hash_interpreter_path(python: Path) -> str:
    """Hash the path, in place of a lock's hash; nothing is run."""
    return hashlib.sha256(b"existing\n" + os.fsencode(python)).hexdigest()[:HASH_LENGTH]


def ask_interpreter(python: Path, named_by: str, environ: Mapping[str, str]) -> ExistingInterpreter:
    """Run it once. EnvironmentFailed, with the setting that names it, if it does not run."""
    if not python.is_file():
        hint = " (a folder: name its bin/python)" if python.is_dir() else ""
        raise EnvironmentFailed(
            f"{named_by} names {python}, which is not an interpreter{hint}. Correct it"
        )
    try:
        answer = subprocess.run(
            [python, "-c", _PROBE],
            capture_output=True,
            timeout=PROBE_DEADLINE_S,
            env=clean_environ(environ),
            cwd=python.parent,
            check=True,
        ).stdout
        real, version, prefix, distributions = json.loads(answer)
    except subprocess.CalledProcessError as error:
        tail = error.stderr.decode(errors="replace")
        raise EnvironmentFailed(
            f"{named_by} names {python}, which does not run. Correct it", tail
        ) from error
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise EnvironmentFailed(
            f"{named_by} names {python}, which is not a Python interpreter. Correct it", str(error)
        ) from error
    identity = json.dumps([real, prefix, version, distributions])
    return ExistingInterpreter(
        python=python,
        version=version.split()[0],
        prefix=Path(prefix),
        hash=hashlib.sha256(identity.encode()).hexdigest()[:HASH_LENGTH],
        distributions=tuple(distributions),
    )


def clean_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """Remove variables that change what an interpreter imports, and the user's packages."""
    kept = {name: value for name, value in environ.items() if not name.startswith("PYTHON")}
    return {**kept, "PYTHONNOUSERSITE": "1"}
