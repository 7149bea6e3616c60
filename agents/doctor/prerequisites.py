"""Checks of the prerequisites of environments: disk space and tools."""

import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import uv

from velodrome.agents.doctor.finding import DoctorFinding, Subject, join_names
from velodrome.agents.environments.frameworks import available_frameworks
from velodrome.agents.environments.recipes import Lock, Recipe, read_recipe
from velodrome.agents.environments.store import this_platform
from velodrome.agents.environments.stub_libraries import COMPILERS

GB = 10**9
# These run a C++ compiler at run time; no recipe states it.
CXX_USERS = ("theano", "pytensor", "pytensor3", "torch's variant compile")
CXX_COMPILERS = ("g++", "clang++", "c++")

SPACE = Subject("disk space", "an environment is not built without enough space")
UV = Subject("uv", "it builds environments of Python packages")
CC = Subject("C compiler", "it compiles stubs for libraries that a framework links against")
CXX = Subject("C++ compiler", "some frameworks compile a model when they build it")
DEBIAN = Subject("mmdebstrap", "it builds environments of Debian packages")
ENTER = Subject("bubblewrap", "it enters an environment of Debian packages; root does not need it")


@dataclass(frozen=True)
class Requirements:
    """The frameworks' needs. disk_bytes: of all their CPU environments.

    accelerators: of each GPU lock for this platform, by framework; none: all are for others.
    """

    disk_bytes: int
    stub_users: tuple[str, ...]
    debian: tuple[str, ...]
    accelerators: Mapping[str, tuple[tuple[str, ...], ...]]


def read_requirements(environ: Mapping[str, str] = os.environ) -> Requirements:
    """Read all recipes. RecipeError if one of the user's own is broken."""
    recipes = {
        name: read_recipe(Path(framework.folder), locked=False)
        for name, framework in available_frameworks(environ).items()
    }
    return Requirements(
        disk_bytes=sum(_size_bytes(recipe) for recipe in recipes.values()),
        stub_users=tuple(
            name for name, recipe in recipes.items() if any(lock.libraries for lock in recipe.locks)
        ),
        debian=tuple(name for name, recipe in recipes.items() if recipe.kind == "debian"),
        accelerators={
            name: tuple(lock.devices for lock in gpu_locks if _is_for_here(lock))
            for name, recipe in recipes.items()
            if (gpu_locks := [lock for lock in recipe.locks if lock.devices != ("cpu",)])
        },
    )


def _is_for_here(lock: Lock) -> bool:
    return not lock.platforms or this_platform() in lock.platforms


def check_disk_space(free_bytes: int, needed_bytes: int, place: Path) -> DoctorFinding:
    """Check disk space. free_bytes includes existing environments; 0: unknown."""
    if free_bytes == 0:
        return SPACE.unknown(f"the free space in {place} is unknown")
    seen = f"{free_bytes / GB:.0f} GB in {place}; all environments take {needed_bytes / GB:.0f} GB"
    if free_bytes >= needed_bytes:
        return SPACE.fine(seen)
    return SPACE.warning(seen, "set VELODROME_HOME to a larger disk, or: velodrome envs prune")


def check_uv() -> DoctorFinding:
    """Check uv, which comes with Velodrome."""
    try:
        return UV.fine(str(uv.find_uv_bin()))
    except FileNotFoundError:
        return UV.warning("missing: no framework can be built", "pip install uv")


def check_c_compiler(environ: Mapping[str, str], users: Iterable[str]) -> DoctorFinding:
    """Check for a C compiler."""
    names = [environ["CC"]] if environ.get("CC") else COMPILERS
    return _find_program(CC, names, users, environ, "sudo apt-get install gcc")


def check_cxx_compiler(environ: Mapping[str, str]) -> DoctorFinding:
    """Check for a C++ compiler."""
    names = [environ["CXX"]] if environ.get("CXX") else CXX_COMPILERS
    return _find_program(CXX, names, CXX_USERS, environ, "sudo apt-get install g++")


def check_mmdebstrap(environ: Mapping[str, str], users: Iterable[str]) -> DoctorFinding:
    """Check for mmdebstrap."""
    return _find_program(DEBIAN, ["mmdebstrap"], users, environ, "sudo apt-get install mmdebstrap")


def check_bubblewrap(environ: Mapping[str, str], users: Iterable[str], user: int) -> DoctorFinding:
    """Check for bubblewrap. user: its number; 0 is root."""
    path = shutil.which("bwrap", path=environ.get("PATH"))
    if not path and user == 0:
        return ENTER.fine("missing, and this user is root")
    return _find_program(ENTER, ["bwrap"], users, environ, "sudo apt-get install bubblewrap")


def _find_program(
    subject: Subject,
    names: Iterable[str],
    users: Iterable[str],
    environ: Mapping[str, str],
    mend: str,
) -> DoctorFinding:
    for name in names:
        if path := shutil.which(name, path=environ.get("PATH")):
            return subject.fine(path)
    users_text = join_names(list(users))
    if not users_text:
        return subject.fine("missing, and no framework needs it")
    return subject.warning(f"missing, needed by {users_text}", mend)


def _size_bytes(recipe: Recipe) -> int:
    """Size of the CPU environment."""
    locks = recipe.locks_for("cpu", this_platform())
    return locks[0].size_mb * 10**6 if locks else 0
