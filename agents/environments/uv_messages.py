"""Explanations of failed uv installs, from its output, in one line with a fix."""

import re

from velodrome.agents.environments.failures import EnvironmentFailed

LOG_TAIL_LINES = 60
# `numpy{sys_platform == 'linux'}==2.4.6`: a marker may stand between name and version.
_PIN = r"([A-Za-z0-9._-]+)(?:\{[^}]*\})?(==[^\s,]+)?"
_NOT_FOUND = (
    re.compile(rf"there (?:is|are) no versions? of {_PIN}"),
    re.compile(rf"{_PIN} was not found in the (?:package registry|provided package locations)"),
)
_NO_WHEEL = re.compile(rf"{_PIN} has no wheels with a matching (Python|platform|ABI)[^,]*")
_OTHER_BYTES = re.compile(r"Hash mismatch for `([^`]+)`")
_UNREACHABLE = re.compile(
    r"Failed to fetch|Failed to download|Request failed|dns error|Could not connect|timed out"
)
_DISK_FULL = re.compile(r"No space left on device|os error 28\b|Disk quota exceeded")


def is_disk_full(output: str) -> bool:
    """Return True if the output states a full disk or quota."""
    return _DISK_FULL.search(output) is not None


def not_found(output: str) -> str:
    """Return the pin that no configured index or folder has; empty: another problem."""
    for pattern in _NOT_FOUND:
        match = pattern.search(output)
        if match:
            return match[1] + (match[2] or _find_version(match[1], output)).rstrip(".")
    return ""


def _find_version(name: str, output: str) -> str:
    """Find `==2.4.6` where uv reports an unknown name, and then the requirement."""
    match = re.search(rf"you require {re.escape(name)}(?:\{{[^}}]*\}})?(==[^\s,]+)", output)
    return match[1] if match else ""


def explain(output: str, framework: str) -> str:
    """Explain a failure for a table. The caller explains full disks and missing packages."""
    other = _OTHER_BYTES.search(output)
    if other:
        return (
            f"{other[1]} has another hash than in the lock of {framework}. Use another "
            f"index, or renew the lock: `velodrome envs lock {framework}`"
        )
    no_wheel = _NO_WHEEL.search(output)
    if no_wheel:
        return (
            f"{no_wheel[1]}{no_wheel[2] or ''} has no wheel for this {no_wheel[3]}. Add an index "
            f"that has one to pip's configuration, or install another Python"
        )
    if _UNREACHABLE.search(output):
        return (
            f"a package of {framework} could not be downloaded ({cause(output)}). Check the "
            f"network, and the index that pip is configured with (`pip config list`)"
        )
    return f"uv could not install {framework}: {cause(output)}. See the end of its log"


def cause(output: str) -> str:
    """Return uv's innermost cause, else its error, else its last line."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    for start in ("cause: ", "error: "):
        named = [line.removeprefix(start) for line in lines if line.startswith(start)]
        if named:
            return named[-1].rstrip(".")
    return lines[-1] if lines else "it printed nothing"


def explain_failed_import(framework: str, module: str, output: str) -> EnvironmentFailed:
    """Describe a failed import after a successful install; output: the interpreter's."""
    return EnvironmentFailed(
        f"{framework} is installed, but `import {module}` fails: {cause(output)}. "
        "See the end of its log",
        log_tail(output),
    )


def log_tail(output: str) -> str:
    """Return the last lines of the output."""
    return "\n".join(output.splitlines()[-LOG_TAIL_LINES:])
