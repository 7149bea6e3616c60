"""Whether the OpenBLAS of each environment that is built runs the best kernels this CPU has."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from velodrome.agents.doctor.finding import Finding, Subject, listed
from velodrome.agents.environments.core_types import OF_THE_USER, Choice
from velodrome.agents.environments.disk_layout import home_of
from velodrome.agents.environments.environment import Environment
from velodrome.agents.environments.failures import EnvironmentFailed
from velodrome.agents.environments.frameworks import available
from velodrome.agents.environments.import_path import import_path
from velodrome.agents.environments.openblas_probes import choice_for
from velodrome.agents.environments.store import EnvironmentStore

BLAS = Subject(
    "BLAS kernels",
    "an OpenBLAS that does not know the CPU multiplies matrices two to four times slower",
)


@dataclass(frozen=True)
class Built:
    """An environment that stands, and what its workers get."""

    framework: str
    choice: Choice


def built(environ: Mapping[str, str] = os.environ) -> tuple[Built, ...]:
    """Of today's environments those with an OpenBLAS. One is tried once (a second), then known.

    One that cannot be entered here is left out; that is another check's to say.
    """
    store = EnvironmentStore(environ=environ)
    if not store.root.is_dir():
        return ()
    try:
        current = [one for one in store.list() if store.is_current(one)]
    except EnvironmentFailed:  # the user points at an interpreter that does not run
        return ()
    return tuple(_known(store, current, environ))


def kernels(environments: tuple[Built, ...]) -> Finding:
    below = [one for one in environments if one.choice.below]
    if not below:
        return BLAS.fine(_runs(environments) or "no environment with an OpenBLAS is built")
    seen = [
        f"{one.framework} {seen.name} {seen.core}" for one in below for seen in one.choice.below
    ]
    return BLAS.warning(f"below {below[0].choice.best}: {listed(seen)}", _mend(below))


def _known(
    store: EnvironmentStore, environments: list[Environment], environ: Mapping[str, str]
) -> Iterator[Built]:
    known = available(environ)
    for one in environments:
        try:
            importable = import_path(home_of(store.root), known[one.framework])
            choice = choice_for(one, importable, environ)
        except (EnvironmentFailed, OSError):
            continue
        if choice.run:
            yield Built(one.framework, choice)


def _runs(environments: tuple[Built, ...]) -> str:
    told = [
        f"{one.framework} {'+'.join(dict.fromkeys(seen.core for seen in one.choice.run))}"
        for one in environments
    ]
    return listed(told)


def _mend(below: list[Built]) -> str:
    if any(one.choice.named_by == OF_THE_USER for one in below):
        return f"unset {OF_THE_USER}"
    named = [one for one in below if one.choice.named_by]
    if named:
        return f"take OPENBLAS_CORETYPE out of the environment.toml of {named[0].framework}"
    names = " ".join(dict.fromkeys(one.framework for one in below))
    return f"a newer OpenBLAS, if it can be had: velodrome envs lock {names}"
