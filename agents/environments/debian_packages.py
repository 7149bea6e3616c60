"""The packages of a Debian tree, and the lock that names each with its exact version."""

import re
from collections.abc import Mapping
from pathlib import Path

STATUS = "var/lib/dpkg/status"
_MISSING = (
    re.compile(r"Version '([^']+)' for '([^']+)' was not found"),
    re.compile(r"Unable to locate package (\S+)"),
    re.compile(r"Package '?(\S+?)'? has no installation candidate"),
)

Packages = Mapping[str, str]  # name -> version


def installed(tree: Path) -> Packages:
    """As dpkg's own database has it. OSError if there is none."""
    found = {}
    for entry in (tree / STATUS).read_text().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in entry.splitlines() if ": " in line)
        if fields.get("Status", "").endswith(" installed"):
            found[fields["Package"]] = fields["Version"]
    return found


def lock_text(suite: str, packages: Packages) -> str:
    lines = [f"{name}={version}\n" for name, version in sorted(packages.items())]
    return f"# Debian {suite}, every package of the tree.\n" + "".join(lines)


def locked(text: str) -> Packages:
    lines = (line.strip() for line in text.splitlines())
    pairs = (line.split("=", 1) for line in lines if line and not line.startswith("#"))
    return {name: version for name, version in pairs}


def differences(expected: Packages, found: Packages) -> tuple[str, ...]:
    return tuple(
        f"{name} {found.get(name, 'is not')} installed, the lock names {expected.get(name, 'none')}"
        for name in sorted({*expected, *found})
        if expected.get(name) != found.get(name)
    )


def not_offered(output: str) -> str:
    """`name=version`, or the name alone, that apt could not find; empty if the trouble differs."""
    for pattern in _MISSING:
        match = pattern.search(output)
        if match:
            return "=".join(reversed(match.groups()))
    return ""
