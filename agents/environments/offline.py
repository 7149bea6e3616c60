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

# Dense layers only: every framework that computes gradients can run it.
MODEL, BATCH_SIZE = "autoencoder-400-200-100/ae1", 2
_BRIEF = Timing(target=1.0, min_samples=1, min_seconds=0.0, max_seconds=0.1)
_TRY_DEADLINE_S = 20
# Root may create a network namespace; a user only inside a user namespace, where that is allowed.
_WAYS = (("--net",), ("--map-current-user", "--net"))


def without_network(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return a command prefix that removes the network. EnvironmentFailed if none works."""
    unshare = shutil.which("unshare", path=environ.get("PATH"))
    problem = "there is no `unshare`"
    for way in _WAYS if unshare else ():
        prefix = (str(unshare), *way, "--")
        run = run_tool(
            [*prefix, "true"], environ=environ, cwd=Path("/"), deadline_s=_TRY_DEADLINE_S
        )
        if run.ok:
            return prefix
        problem = run.output.strip().splitlines()[-1] if run.output.strip() else "it failed"
    raise EnvironmentFailed(
        f"the network cannot be removed for a check here ({problem}). Run it as root, or allow "
        f"user namespaces (kernel.unprivileged_userns_clone, user.max_user_namespaces)"
    )


def offline_problems(
    environment: Environment,
    framework: Framework,
    environ: Mapping[str, str],
    prefix: tuple[str, ...],
) -> tuple[str, ...]:
    """List the problems when it computes and verifies a small model under the prefix."""
    reference = environment.cache_folder / "offline.npz"
    request = check_request(framework)._replace(
        model=MODEL, batch_size=BATCH_SIZE, reference=str(reference), timing=_BRIEF
    )
    requests = [request._replace(action=action) for action in ("reference", "measure")]
    try:
        problems = (_failures(each, environment, framework, environ, prefix) for each in requests)
        return next(filter(None, problems), ())
    finally:
        reference.unlink(missing_ok=True)


def _failures(
    request: Request,
    environment: Environment,
    framework: Framework,
    environ: Mapping[str, str],
    prefix: tuple[str, ...],
) -> tuple[str, ...]:
    """List failures; a model that the framework cannot express is not one."""
    ran = run_trial(environment, framework, request, environ, prefix)
    if ran.tool.ok and any(isinstance(event, Finished) for event in ran.events):
        return ()
    if any(isinstance(event, Failed) and event.status == "unsupported" for event in ran.events):
        return ()
    return (f"without a network, {request.action} of {MODEL} fails: {describe_problem(ran)}",)
