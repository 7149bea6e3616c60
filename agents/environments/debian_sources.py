"""The Debian archive of this node, from its own apt configuration."""

import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

VARIABLE = "VELODROME_DEBIAN_MIRROR"
ASK_DEADLINE_S = 60
_FIELDS = "$(REPO_URI)|$(RELEASE)|$(ORIGIN)"
# Archives of their own, which hold parts of a release.
_PARTS = ("security", "updates", "backports", "proposed")
_PROXIES = ("Acquire::http::Proxy", "Acquire::https::Proxy")


@dataclass(frozen=True)
class DebianSources:
    """mirror: an archive's address; empty: mmdebstrap's default. proxies: lines for apt."""

    mirror: str
    proxies: tuple[str, ...] = ()


def read_debian_sources(environ: Mapping[str, str]) -> DebianSources:
    """Read VELODROME_DEBIAN_MIRROR, or else apt's sources in either format."""
    targets = _output_lines(
        ["apt-get", "indextargets", "--format", _FIELDS, "Created-By: Packages"], environ
    )
    proxies = [
        line
        for line in _output_lines(["apt-config", "dump", *_PROXIES], environ)
        if line.startswith(_PROXIES) and '""' not in line
    ]
    return DebianSources(environ.get(VARIABLE, "") or choose(targets), tuple(proxies))


def choose(targets: Iterable[str]) -> str:
    """Choose the first complete Debian archive from `uri|release|origin` lines."""
    for target in targets:
        uri, release, origin = (*target.split("|"), "", "")[:3]
        whole = not any(part in release for part in _PARTS)
        debian = origin == "Debian" or urlsplit(uri).path.strip("/").endswith("debian")
        if whole and debian:
            return uri
    return ""


def _output_lines(command: list[str], environ: Mapping[str, str]) -> list[str]:
    """Output lines of a command; none without apt."""
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            env=dict(environ),
            timeout=ASK_DEADLINE_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return done.stdout.splitlines()
