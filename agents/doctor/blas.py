"""Check that each environment's OpenBLAS runs the best kernels of this CPU."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from velodrome.agents.doctor.finding import DoctorFinding, Subject, join_names
from velodrome.agents.environments.core_types import OF_THE_USER, KernelChoice
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

    One that cannot be entered here is left out; another check reports it.
    """
    store = EnvironmentStore(environ=environ)
    if not store.root.is_dir():
        return ()
    try:
        current = [one for one in store.list() if store.is_current(one)]
    except EnvironmentFailed:  # the user points at an interpreter that does not run
        return ()
    return tuple(_known(store, current, environ))


def check_kernels(environments: tuple[OpenBlasEnvironment, ...]) -> DoctorFinding:
    """Check the kernels of all environments."""
    below = [one for one in environments if one.choice.below]
    if not below:
        return BLAS.fine(_runs(environments) or "no environment with an OpenBLAS is built")
    seen = [
        f"{one.framework} {seen.name} {seen.core}" for one in below for seen in one.choice.below
    ]
    return BLAS.warning(f"below {below[0].choice.best}: {join_names(seen)}", _mend(below))


def _known(
    store: EnvironmentStore, environments: list[Environment], environ: Mapping[str, str]
) -> Iterator[OpenBlasEnvironment]:
    known = available_frameworks(environ)
    for one in environments:
        try:
            importable = import_path(home_of(store.root), known[one.framework])
            choice = choose_kernels(one, importable, environ)
        except (EnvironmentFailed, OSError):
            continue
        if choice.run:
            yield OpenBlasEnvironment(one.framework, choice)


def _runs(environments: tuple[OpenBlasEnvironment, ...]) -> str:
    told = [
        f"{one.framework} {'+'.join(dict.fromkeys(seen.core for seen in one.choice.run))}"
        for one in environments
    ]
    return join_names(told)


def _mend(below: list[OpenBlasEnvironment]) -> str:
    if any(one.choice.named_by == OF_THE_USER for one in below):
        return f"unset {OF_THE_USER}"
    named = [one for one in below if one.choice.named_by]
    if named:
        return f"take OPENBLAS_CORETYPE out of the environment.toml of {named[0].framework}"
    names = " ".join(dict.fromkeys(one.framework for one in below))
    return f"a newer OpenBLAS, if it can be had: velodrome envs lock {names}"
