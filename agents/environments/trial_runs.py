"""Trial runs: one worker outside of any measurement, to test an environment."""

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from velodrome.adapters import protocol, wire_format
from velodrome.adapters.protocol import Request
from velodrome.adapters.registry import Framework
from velodrome.agents.environments import uv_messages
from velodrome.agents.environments.environment import Environment
from velodrome.agents.environments.existing import NO_GPU, clean_environ
from velodrome.agents.environments.import_path import import_path
from velodrome.agents.environments.launch import launch_command
from velodrome.agents.environments.tool_runs import ToolRun, run_tool

DEADLINE_S = 300


@dataclass(frozen=True)
class TrialRun:
    """The exit of the process, and its events."""

    tool: ToolRun
    events: tuple[object, ...]


def run_trial(
    environment: Environment,
    framework: Framework,
    request: Request,
    environ: Mapping[str, str],
    prefix: tuple[str, ...] = (),
) -> TrialRun:
    """Run a worker. prefix: a program that starts it, such as `unshare`."""
    reading, writing = os.pipe()
    with tempfile.TemporaryDirectory() as place, os.fdopen(reading) as events:
        path = Path(place) / "request.json"
        path.write_text(wire_format.encode_request(request))
        words = ["-m", "velodrome.adapters.worker", str(path), str(writing)]
        try:
            run = run_tool(
                [*prefix, *launch_command(environment, framework.path, words)],
                environ=_environ(environment, framework, environ),
                cwd=Path(place),
                deadline_s=DEADLINE_S,
                pass_fds=(writing,),
            )
        finally:
            os.close(writing)
        return TrialRun(run, tuple(wire_format.decode(line) for line in events))


def describe_problem(ran: TrialRun) -> str:
    """Return the worker's stated failure, or else its output."""
    reasons = [event.reason for event in ran.events if isinstance(event, protocol.Failed)]
    return reasons[-1] if reasons else uv_messages.cause(ran.tool.output)


def check_request(framework: Framework) -> Request:
    """Build a check request: import the framework and return its version."""
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


def _environ(
    environment: Environment, framework: Framework, environ: Mapping[str, str]
) -> dict[str, str]:
    path = import_path(environment.caches.parent, framework)
    own = {**dict(environment.variables), **NO_GPU, "PYTHONPATH": path}
    own["PYTHONDONTWRITEBYTECODE"] = "1"  # a check leaves the environment as it is
    return {**clean_environ(environ), **own}
