"""Explanations of failed Debian builds, from mmdebstrap's output, each with a fix."""

import re

from velodrome.agents.environments.debian_packages import find_missing_package
from velodrome.agents.environments.debian_sources import VARIABLE
from velodrome.agents.environments.failures import EnvironmentFailed
from velodrome.agents.environments.tool_runs import ToolRun
from velodrome.agents.environments.uv_messages import is_disk_full, log_tail

_NO_RELEASE = re.compile(r"does not have a Release file|404 +Not Found|no longer has a Release")
_UNREACHABLE = re.compile(
    r"Could not (?:connect|resolve)|Temporary failure|Connection (?:failed|timed out|refused)"
)
_UNSIGNED = re.compile(r"NO_PUBKEY|public key is not available|is not signed|No keyring installed")
_NO_NAMESPACE = re.compile(r"unprivileged_userns|newuidmap|subuid|unshare.*not permitted", re.I)


def explain(run: ToolRun, framework: str, suite: str, mirror: str) -> EnvironmentFailed:
    """Return the failure of a build with its reason."""
    return EnvironmentFailed(_reason(run, framework, suite, mirror), log_tail(run.output))


def _reason(run: ToolRun, framework: str, suite: str, mirror: str) -> str:
    place = mirror or "mmdebstrap's own mirror"
    another = f"set {VARIABLE} to an archive that has it"
    missing = find_missing_package(run.output)
    if missing:
        return f"{missing}, which {framework} needs, is not in {suite} of {place}: {another}"
    if run.timed_out:
        return f"{framework}'s tree was not built in time. Check the network"
    if is_disk_full(run.output):
        return (
            f"the disk filled up while {framework}'s tree was being built. Free space, or set "
            "VELODROME_HOME to a folder on another disk"
        )
    if _NO_RELEASE.search(run.output):
        return f"{place} has no {suite}, which {framework} needs: {another}"
    if _UNREACHABLE.search(run.output):
        return f"{place} could not be reached for {framework}. Check the network, or {another}"
    if _UNSIGNED.search(run.output):
        return f"the keys of {suite} are missing. Run `apt-get install debian-archive-keyring`"
    if _NO_NAMESPACE.search(run.output):
        return (
            f"mmdebstrap may not create a user namespace to build {framework}. Run `apt-get "
            "install uidmap`, give this user a range in /etc/subuid and /etc/subgid, or be root"
        )
    return f"mmdebstrap could not build {framework}: {_cause(run.output)}. See the end of its log"


def _cause(output: str) -> str:
    """The first error of apt, which comes before mmdebstrap's summary."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line.removeprefix("E: ") for line in lines if line.startswith("E: ")]
    return (errors or lines[-1:] or ["it printed nothing"])[0].rstrip(".")
