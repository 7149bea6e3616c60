"""Whether an environment is still what was built, and still works."""

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from velodrome.adapters import protocol
from velodrome.adapters.protocol import Request
from velodrome.adapters.registry import Framework
from velodrome.agents.environments import manifest, uv_messages
from velodrome.agents.environments.environment import Check, Environment
from velodrome.agents.environments.existing import ask_interpreter, clean_environ
from velodrome.agents.environments.failures import EnvironmentFailed
from velodrome.agents.environments.import_path import import_path
from velodrome.agents.environments.tools import run_tool

IMPORT_DEADLINE_S = 300
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


def ask_worker(
    environment: Environment, framework: Framework, environ: Mapping[str, str]
) -> Answer:
    """Start a worker that imports the framework and says its version."""
    reading, writing = os.pipe()
    with tempfile.TemporaryDirectory() as place, os.fdopen(reading) as events:
        request = Path(place) / "request.json"
        request.write_text(protocol.encode_request(_request(framework)))
        command = [str(environment.python), "-m", "velodrome.adapters.worker"]
        try:
            run = run_tool(
                [*command, str(request), str(writing)],
                environ=_environ(environment, framework, environ),
                cwd=Path(place),
                deadline_s=IMPORT_DEADLINE_S,
                pass_fds=(writing,),
            )
        finally:
            os.close(writing)
        said = [protocol.decode(line) for line in events]
    versions = [event.framework_version for event in said if isinstance(event, protocol.Imported)]
    if run.ok and versions:
        return Answer(versions[-1])
    reasons = [event.reason for event in said if isinstance(event, protocol.Failed)]
    why = reasons[-1] if reasons else uv_messages.cause(run.output)
    problem = f"{framework.name} cannot be imported: {why}"
    return Answer("", problem, uv_messages.log_tail(run.output))


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


def _environ(
    environment: Environment, framework: Framework, environ: Mapping[str, str]
) -> dict[str, str]:
    path = import_path(environment.caches.parent, framework)
    return {**clean_environ(environ), **dict(environment.variables), "PYTHONPATH": path}


def _request(framework: Framework) -> Request:
    return Request(
        action="check",
        framework=framework.name,
        adapter=framework.adapter,
        variant=framework.default_variant,
        model="",
        batch_size=1,
        device="cpu",
        threads=1,
        dtype="float32",
        seed=0,
        reference="",
    )
