"""Packages of a Debian tree, and locks with their exact versions."""

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


def read_installed(tree: Path) -> Packages:
    """Read dpkg's database. OSError if there is none."""
    found = {}
    for entry in (tree / STATUS).read_text().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in entry.splitlines() if ": " in line)
        if fields.get("Status", "").endswith(" installed"):
            found[fields["Package"]] = fields["Version"]
    return found


def format_lock(suite: str, packages: Packages) -> str:
    """Format a lock."""
    lines = [f"{name}={version}\n" for name, version in sorted(packages.items())]
    return f"# Debian {suite}, every package of the tree.\n" + "".join(lines)


def parse_lock(text: str) -> Packages:
    """Parse a lock."""
    lines = (line.strip() for line in text.splitlines())
    pairs = (line.split("=", 1) for line in lines if line and not line.startswith("#"))
    return {name: version for name, version in pairs}


def list_differences(expected: Packages, found: Packages) -> tuple[str, ...]:
    """List the differences between expected and installed packages, of any kind."""
    return tuple(
        f"{name} {found.get(name, 'is not')} installed, the lock names {expected.get(name, 'none')}"
        for name in sorted({*expected, *found})
        if expected.get(name) != found.get(name)
    )


def find_missing_package(output: str) -> str:
    """Return the package (`name=version` or name) that apt did not find; empty: another problem."""
    for pattern in _MISSING:
        match = pattern.search(output)
        if match:
            return "=".join(reversed(match.groups()))
    return ""
