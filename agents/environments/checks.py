"""Checks that an environment is unchanged since its build and still works."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from velodrome.adapters.protocol import Imported
from velodrome.adapters.registry import Framework
from velodrome.agents.environments import manifest, uv_messages
from velodrome.agents.environments.debian_packages import list_differences
from velodrome.agents.environments.environment import Check, Environment
from velodrome.agents.environments.existing import ask_interpreter
from velodrome.agents.environments.failures import EnvironmentFailed
from velodrome.agents.environments.offline import offline_problems
from velodrome.agents.environments.trial_runs import check_request, describe_problem, run_trial
from velodrome.agents.environments.versions import join

SHOWN = 20  # files named one by one


@dataclass(frozen=True)
class Answer:
    """A worker's answer to the action `check`."""

    version: str = ""
    problem: str = ""
    log_tail: str = ""


def check_environment(
    environment: Environment, framework: Framework | None, environ: Mapping[str, str]
) -> Check:
    """Compare every file, then import the framework. framework None: no longer known."""
    problems = _changes(environment, environ)
    if framework is None:
        unknown = f"there is no framework {environment.framework!r}: run `velodrome envs prune`"
        return Check((*problems, unknown))
    answer = ask_worker(environment, framework, environ)
    failed = (answer.problem,) if answer.problem else ()
    return Check(problems + failed, answer.version, answer.log_tail)


def require_intact(environment: Environment) -> Environment:
    """Raise EnvironmentFailed for missing or resized files; checked once per process."""
    try:
        written_ns = (environment.folder / manifest.MANIFEST).stat().st_mtime_ns
        missing = _find_missing(environment.folder, written_ns)
    except (OSError, ValueError):
        missing = f"{manifest.MANIFEST} is missing or broken"
    _require_none(missing, environment)
    return environment


def require_as_built(environment: Environment) -> None:
    """Raise EnvironmentFailed for missing, changed or added files; checked for each worker.

    An added module, `.pth` or `sitecustomize.py` would change what is measured. A user's own
    interpreter has no manifest.
    """
    if environment.kind == "existing":
        return
    try:
        change = manifest.find_change(environment.folder)
    except (OSError, ValueError):
        change = f"{manifest.MANIFEST} is missing or broken"
    _require_none(change, environment)


def _require_none(change: str, environment: Environment) -> None:
    if change:
        framework = join(environment.framework, environment.version)
        raise EnvironmentFailed(
            f"{environment.name} has changed since its build: {change}. "
            f"Rebuild it: `velodrome envs build --rebuild {framework}`"
        )


@functools.cache
def _find_missing(folder: Path, written_ns: int) -> str:
    return manifest.find_missing(folder)


def check_environment_offline(
    environment: Environment,
    framework: Framework | None,
    environ: Mapping[str, str],
    prefix: tuple[str, ...],
) -> Check:
    """Check the environment, then run a small model without a network."""
    found = check_environment(environment, framework, environ)
    if framework is None or not found.ok:
        return found
    return replace(found, problems=offline_problems(environment, framework, environ, prefix))


def ask_worker(
    environment: Environment, framework: Framework, environ: Mapping[str, str]
) -> Answer:
    """Start a worker that imports the framework and returns its version."""
    ran = run_trial(environment, framework, check_request(framework), environ)
    versions = [event.framework_version for event in ran.events if isinstance(event, Imported)]
    if ran.tool.ok and versions:
        return Answer(versions[-1])
    problem = f"{framework.name} cannot be imported: {describe_problem(ran)}"
    return Answer("", problem, uv_messages.log_tail(ran.tool.output))


def _changes(environment: Environment, environ: Mapping[str, str]) -> tuple[str, ...]:
    if environment.kind == "existing":
        return _existing_changes(environment, environ)
    try:
        before = manifest.read(environment.folder)
    except (OSError, ValueError):
        return (f"{manifest.MANIFEST} is missing or broken: rebuild {environment.name}",)
    now = manifest.scan(environment.folder)
    files = manifest.differences(before, now)
    packages = list_differences(manifest.distributions(before), manifest.distributions(now))
    more = (f"and {len(files) - SHOWN} more files",) if len(files) > SHOWN else ()
    return packages + files[:SHOWN] + more


def _existing_changes(environment: Environment, environ: Mapping[str, str]) -> tuple[str, ...]:
    try:
        now = ask_interpreter(environment.python, environment.name, environ)
    except EnvironmentFailed as failed:
        return (failed.reason,)
    changed = f"the packages of {environment.python} have changed: their hash is now {now.hash}"
    return () if now.hash == environment.hash else (changed,)
