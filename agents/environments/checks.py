"""Whether an environment is still what was built, and still works."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from velodrome.adapters.protocol import Imported
from velodrome.adapters.registry import Framework
from velodrome.agents.environments import manifest, uv_messages
from velodrome.agents.environments.environment import Check, Environment
from velodrome.agents.environments.existing import ask_interpreter
from velodrome.agents.environments.failures import EnvironmentFailed
from velodrome.agents.environments.offline import offline_problems
from velodrome.agents.environments.trial_runs import problem_of, request_of, run_worker
from velodrome.agents.environments.versions import named_at

SHOWN = 20  # files named one by one


@dataclass(frozen=True)
class Answer:
    """What a worker said to the action `check`."""

    version: str = ""
    problem: str = ""
    log_tail: str = ""


def check_environment(
    environment: Environment, framework: Framework | None, environ: Mapping[str, str]
) -> Check:
    """Compare every file, then import. framework None: one that is not known any more."""
    problems = _changes(environment, environ)
    if framework is None:
        unknown = f"no framework {environment.framework!r} is known: `velodrome envs prune`"
        return Check((*problems, unknown))
    answer = ask_worker(environment, framework, environ)
    failed = (answer.problem,) if answer.problem else ()
    return Check(problems + failed, answer.version, answer.log_tail)


def require_unharmed(environment: Environment) -> Environment:
    """EnvironmentFailed if files are gone or of another size; looked for once in a process."""
    try:
        written_ns = (environment.folder / manifest.MANIFEST).stat().st_mtime_ns
        harm = _harm(environment.folder, written_ns)
    except (OSError, ValueError):
        harm = f"{manifest.MANIFEST} is gone or broken"
    _require_none(harm, environment)
    return environment


def require_as_built(environment: Environment) -> None:
    """EnvironmentFailed if any file is gone, was changed or was added; for each worker anew.

    A module, a `.pth` or a `sitecustomize.py` in it decides what is measured. Nothing is known of
    an interpreter of the user's.
    """
    if environment.kind == "existing":
        return
    try:
        change = manifest.change(environment.folder)
    except (OSError, ValueError):
        change = f"{manifest.MANIFEST} is gone or broken"
    _require_none(change, environment)


def _require_none(change: str, environment: Environment) -> None:
    if change:
        asked = named_at(environment.framework, environment.version)
        raise EnvironmentFailed(
            f"{environment.name} is not as it was built: {change}. "
            f"Build it again: `velodrome envs build --rebuild {asked}`"
        )


@functools.cache
def _harm(folder: Path, written_ns: int) -> str:
    return manifest.harm(folder)


def check_environment_offline(
    environment: Environment,
    framework: Framework | None,
    environ: Mapping[str, str],
    prefix: tuple[str, ...],
) -> Check:
    """check_environment, and if that finds nothing a small model where there is no network."""
    found = check_environment(environment, framework, environ)
    if framework is None or not found.ok:
        return found
    return replace(found, problems=offline_problems(environment, framework, environ, prefix))


def ask_worker(
    environment: Environment, framework: Framework, environ: Mapping[str, str]
) -> Answer:
    """Start a worker that imports the framework and says its version."""
    ran = run_worker(environment, framework, request_of(framework), environ)
    versions = [event.framework_version for event in ran.events if isinstance(event, Imported)]
    if ran.tool.ok and versions:
        return Answer(versions[-1])
    problem = f"{framework.name} cannot be imported: {problem_of(ran)}"
    return Answer("", problem, uv_messages.log_tail(ran.tool.output))


def _changes(environment: Environment, environ: Mapping[str, str]) -> tuple[str, ...]:
    if environment.kind == "existing":
        return _existing_changes(environment, environ)
    try:
        before = manifest.read(environment.folder)
    except (OSError, ValueError):
        return (f"{manifest.MANIFEST} is gone or broken: rebuild {environment.name}",)
    now = manifest.take(environment.folder)
    files = manifest.differences(before, now)
    packages = _package_changes(manifest.distributions(before), manifest.distributions(now))
    more = (f"and {len(files) - SHOWN} more files",) if len(files) > SHOWN else ()
    return packages + files[:SHOWN] + more


def _package_changes(before: Mapping[str, str], now: Mapping[str, str]) -> tuple[str, ...]:
    names = sorted(set(before) | set(now))
    return tuple(
        f"{name} {now.get(name, 'is not')} installed, the lock names {before.get(name, 'none')}"
        for name in names
        if before.get(name) != now.get(name)
    )


def _existing_changes(environment: Environment, environ: Mapping[str, str]) -> tuple[str, ...]:
    try:
        now = ask_interpreter(environment.python, environment.name, environ)
    except EnvironmentFailed as failed:
        return (failed.reason,)
    changed = f"what {environment.python} has installed has changed: its hash is now {now.hash}"
    return () if now.hash == environment.hash else (changed,)
