"""Check that an environment works offline: a small model, run without a network.

The worker gets a network namespace with no interface up, not even loopback.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path

from velodrome.adapters.protocol import Failed, Finished, Request, Timing
from velodrome.adapters.registry import Framework
from velodrome.agents.environments.environment import Environment
from velodrome.agents.environments.failures import EnvironmentFailed
from velodrome.agents.environments.tool_runs import run_tool
from velodrome.agents.environments.trial_runs import check_request, describe_problem, run_trial

# Dense layers only: whoever computes gradients at all can run it.
MODEL, BATCH_SIZE = "autoencoder-400-200-100/ae1", 2
_BRIEF = Timing(target=1.0, min_samples=1, min_seconds=0.0, max_seconds=0.1)
_TRY_DEADLINE_S = 20
# As root a namespace can be made outright, else inside one of users, where that is allowed.
_WAYS = (("--net",), ("--map-current-user", "--net"))


def without_network(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return a command prefix that removes the network. EnvironmentFailed if none works."""
    unshare = shutil.which("unshare", path=environ.get("PATH"))
    said = "there is no `unshare`"
    for way in _WAYS if unshare else ():
        prefix = (str(unshare), *way, "--")
        run = run_tool(
            [*prefix, "true"], environ=environ, cwd=Path("/"), deadline_s=_TRY_DEADLINE_S
        )
        if run.ok:
            return prefix
        said = run.output.strip().splitlines()[-1] if run.output.strip() else "it failed"
    raise EnvironmentFailed(
        f"nothing can be run without a network here ({said}). Run the check as root, or allow "
        f"users their own namespaces (kernel.unprivileged_userns_clone, user.max_user_namespaces)"
    )


def offline_problems(
    environment: Environment,
    framework: Framework,
    environ: Mapping[str, str],
    prefix: tuple[str, ...],
) -> tuple[str, ...]:
    """List the problems when it computes and verifies a small model under the prefix."""
    reference = environment.cache_folder / "offline.npz"
    asked = check_request(framework)._replace(
        model=MODEL, batch_size=BATCH_SIZE, reference=str(reference), timing=_BRIEF
    )
    try:
        return _failure_lines(
            asked._replace(action="reference"), environment, framework, environ, prefix
        ) or (
            _failure_lines(
                asked._replace(action="measure"), environment, framework, environ, prefix
            )
        )
    finally:
        reference.unlink(missing_ok=True)


def _failure_lines(
    request: Request,
    environment: Environment,
    framework: Framework,
    environ: Mapping[str, str],
    prefix: tuple[str, ...],
) -> tuple[str, ...]:
    """A model that the framework cannot express is no network problem."""
    ran = run_trial(environment, framework, request, environ, prefix)
    if ran.tool.ok and any(isinstance(event, Finished) for event in ran.events):
        return ()
    if any(isinstance(event, Failed) and event.status == "unsupported" for event in ran.events):
        return ()
    return (f"without a network, {request.action} of {MODEL} fails: {describe_problem(ran)}",)
