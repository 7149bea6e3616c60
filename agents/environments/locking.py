"""Renewal of a framework's dependency lock files: `velodrome envs lock FRAMEWORK...`.

A lock is a requirements file with exact versions and sha256 hashes. It names no index, file or
machine, so any mirror serves it. Its hashes are all those of the default index, whatever a local
mirror keeps; only versions that the index lacks (local ones such as 2.13.0+cpu) come from pip's
configured extra indexes and folders.
"""

import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import uv

from velodrome.agents.environments.debian_locking import renew_debian
from velodrome.agents.environments.failures import EnvironmentFailed
from velodrome.agents.environments.frameworks import find_framework
from velodrome.agents.environments.pip_configuration import (
    PackageSources,
    read_sources,
    uv_arguments,
    uv_variables,
)
from velodrome.agents.environments.recipes import Lock, read_recipe
from velodrome.agents.environments.tool_runs import run_tool

COMPILE_DEADLINE_S = 600
LEAK = re.compile(r"://|--index|--extra-index|--find-links|^\s*-[if]\b|@ |^/", re.MULTILINE)


def renew(framework: str, environ: Mapping[str, str] = os.environ) -> tuple[Path, ...]:
    """Resolve each lock of the recipe again from its requirements, and write it.

    EnvironmentFailed if one cannot be resolved; RecipeError if there is no such framework.
    """
    recipe = read_recipe(Path(find_framework(framework, environ).folder), locked=False)
    if recipe.kind == "debian":
        return renew_debian(framework, recipe, environ)
    sources = read_sources(environ)
    for lock in recipe.locks:
        text = resolve(lock, sources, environ)
        lock.path.parent.mkdir(exist_ok=True)
        lock.path.write_text(text)
    return tuple(lock.path for lock in recipe.locks)


def resolve(lock: Lock, sources: PackageSources, environ: Mapping[str, str]) -> str:
    """Resolve a lock for its platforms and every Python from its oldest on."""
    local = any("+" in requirement for requirement in lock.requirements)
    text = _compile(lock.requirements, lock, sources if local else sources.public, (), environ)
    if local:
        pins = [pin for pin in blocks(text) if "+" not in pin]
        complete = blocks(_compile(pins, lock, sources.public, ("--no-deps",), environ))
        text = "".join(complete.get(pin, block) for pin, block in blocks(text).items())
    if LEAK.search(text):
        raise EnvironmentFailed(
            f"{lock.file} would contain a host name or a path. Report this", text
        )
    return text


def resolve_here(lock: Lock, sources: PackageSources, environ: Mapping[str, str]) -> str:
    """Resolve a lock with pip's configuration on this machine: folders, extra indexes.

    The hashes are those of the files found there, possibly fewer than the default index has.
    """
    text = _compile(lock.requirements, lock, sources, (), environ)
    if LEAK.search(text):
        raise EnvironmentFailed(
            f"{lock.file} would contain a host name or a path. Report this", text
        )
    return text


def blocks(text: str) -> dict[str, str]:
    """Split a lock into its pins: the first line up to its hashes, mapped to the whole."""
    cut = re.split(r"^(?=[a-zA-Z0-9])", text, flags=re.MULTILINE)
    return {block.split("\\")[0].strip(): block for block in cut if block.strip()}


def _compile(
    requirements: Sequence[str],
    lock: Lock,
    sources: PackageSources,
    arguments: Sequence[str],
    environ: Mapping[str, str],
) -> str:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "wanted.in").write_text("\n".join(requirements) + "\n")
        (folder / "built-with.in").write_text("\n".join(_constraints(requirements)) + "\n")
        (folder / "pyproject.toml").write_text(_project(lock))
        run = run_tool(
            _command(lock, (*arguments, *uv_arguments(sources))),
            environ={**_without_uv(environ), **uv_variables(sources, {})},
            cwd=folder,
            deadline_s=COMPILE_DEADLINE_S,
        )
        if not run.ok:
            reason = f"{lock.file} cannot be resolved. Correct its requirements in the recipe"
            raise EnvironmentFailed(reason, run.output)
        return _without_scope((folder / "lock.txt").read_text(), lock)


def _command(lock: Lock, arguments: Sequence[str]) -> list[str]:
    oldest = min(lock.python, key=_number)
    command = [uv.find_uv_bin(), "pip", "compile", "wanted.in", "--output-file", "lock.txt"]
    command += ["--universal", "--python-version", oldest, "--no-python-downloads"]
    command += ["--generate-hashes", "--no-header", "--no-annotate", "--quiet", "--upgrade"]
    command += ["--build-constraints", "built-with.in"]
    return [*command, *arguments]


def _constraints(requirements: Sequence[str]) -> list[str]:
    """Build dependencies of source archives, needed even to read their metadata.

    They are the lock's own packages, as in the build. A constraint may not name extras.
    """
    return [requirement for requirement in requirements if "[" not in requirement]


def _project(lock: Lock) -> str:
    """The platforms for uv, in the only form that a universal lock accepts."""
    scope = f'environments = ["{_scope(lock)}"]'
    return f'[project]\nname = "lock"\nversion = "0"\n[tool.uv]\n{scope}\n'


def _scope(lock: Lock) -> str:
    """The marker of the platforms and Pythons that the lock serves."""
    oldest, newest = (choose(lock.python, key=_number) for choose in (min, max))
    parts = [f"python_full_version >= '{oldest}'", f"python_full_version < '{_next(newest)}'"]
    if len(lock.platforms) == 1:
        system, machine = lock.platforms[0].split("-", 1)
        parts += [f"platform_machine == '{machine}'", f"sys_platform == '{system}'"]
    return " and ".join(parts)


def _without_scope(text: str, lock: Lock) -> str:
    """Drop markers that are true wherever the recipe offers the lock."""
    for part in _scope(lock).split(" and "):
        text = text.replace(f" and {part}", "").replace(f"; {part} and ", "; ")
        text = text.replace(f" ; {part}", "")
    return text


def _number(minor: str) -> int:
    return int(minor.split(".")[1])


def _next(minor: str) -> str:
    return f"3.{_number(minor) + 1}"


def _without_uv(environ: Mapping[str, str]) -> dict[str, str]:
    """A lock must not depend on one user's uv settings."""
    return {name: value for name, value in environ.items() if not name.startswith("UV_")}
