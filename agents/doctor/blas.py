"""Check that each environment's OpenBLAS runs the best kernels of this CPU."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from velodrome.agents.doctor.finding import DoctorFinding, Subject, join_names
from velodrome.agents.environments.core_types import USER_VARIABLE, KernelChoice
from velodrome.agents.environments.disk_layout import home_of
from velodrome.agents.environments.environment import Environment
from velodrome.agents.environments.failures import EnvironmentFailed
from velodrome.agents.environments.frameworks import available_frameworks
from velodrome.agents.environments.import_path import import_path
from velodrome.agents.environments.openblas_selection import choose_kernels
from velodrome.agents.environments.store import EnvironmentStore

BLAS = Subject(
    "BLAS kernels",
    "an OpenBLAS that does not know the CPU multiplies matrices two to four times slower",
)


@dataclass(frozen=True)
class OpenBlasEnvironment:
    """A built environment, and its workers' kernels."""

    framework: str
    choice: KernelChoice


def find_environments(environ: Mapping[str, str] = os.environ) -> tuple[OpenBlasEnvironment, ...]:
    """List current environments with an OpenBLAS. Each is tested once (1 s), then remembered.

    An environment that cannot be entered here is left out; another check reports it.
    """
    store = EnvironmentStore(environ=environ)
    if not store.root.is_dir():
        return ()
    try:
        current = [environment for environment in store.list() if store.is_current(environment)]
    except EnvironmentFailed:  # the user points at an interpreter that does not run
        return ()
    return tuple(_choose_kernels(store, current, environ))


def check_kernels(environments: tuple[OpenBlasEnvironment, ...]) -> DoctorFinding:
    """Check the kernels of all environments."""
    below = [environment for environment in environments if environment.choice.below]
    if not below:
        return BLAS.fine(_runs(environments) or "no environment with an OpenBLAS is built")
    names = [
        f"{each.framework} {run.name} {run.core}" for each in below for run in each.choice.below
    ]
    return BLAS.warning(f"below {below[0].choice.best}: {join_names(names)}", _mend(below))


def _choose_kernels(
    store: EnvironmentStore, environments: list[Environment], environ: Mapping[str, str]
) -> Iterator[OpenBlasEnvironment]:
    frameworks = available_frameworks(environ)
    for environment in environments:
        try:
            importable = import_path(home_of(store.root), frameworks[environment.framework])
            choice = choose_kernels(environment, importable, environ)
        except (EnvironmentFailed, OSError):
            continue
        if choice.run:
            yield OpenBlasEnvironment(environment.framework, choice)


def _runs(environments: tuple[OpenBlasEnvironment, ...]) -> str:
    cores = [
        (each.framework, dict.fromkeys(run.core for run in each.choice.run))
        for each in environments
    ]
    return join_names([f"{framework} {'+'.join(names)}" for framework, names in cores])


def _mend(below: list[OpenBlasEnvironment]) -> str:
    if any(environment.choice.named_by == USER_VARIABLE for environment in below):
        return f"unset {USER_VARIABLE}"
    named = [environment for environment in below if environment.choice.named_by]
    if named:
        return f"remove OPENBLAS_CORETYPE from the environment.toml of {named[0].framework}"
    names = " ".join(dict.fromkeys(environment.framework for environment in below))
    return f"lock a newer OpenBLAS, if there is one: velodrome envs lock {names}"
