"""pip's package sources on this node, passed to uv, which does not read pip's configuration.

pip's `constraint` is not passed on: a lock has exact versions, so it could only fail. The user's
settings for uv (UV_ variables, SSL_CERT_FILE) override pip's.
"""

import ast
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from velodrome.agents.environments.absolute_variables import make_path_absolute, make_paths_absolute

ASK_DEADLINE_S = 30
# Later sections win, as in pip: the command's own over the general one, a variable over both.
_SECTIONS = ("global", "install", ":env:")
_TRUE = ("1", "true", "yes", "on")


@dataclass(frozen=True)
class PackageSources:
    """Indexes, folders of wheels and certificates, in pip's terms."""

    index_url: str = ""
    extra_index_urls: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    no_index: bool = False
    cert: str = ""
    trusted_hosts: tuple[str, ...] = ()
    proxy: str = ""
    timeout_s: str = ""

    @property
    def fingerprint(self) -> str:
        """Changes when a package may newly be found."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:12]

    @property
    def public(self) -> "PackageSources":
        """Without additions to the default index: the source of complete sets of hashes."""
        return PackageSources(
            index_url=self.index_url,
            cert=self.cert,
            trusted_hosts=self.trusted_hosts,
            proxy=self.proxy,
            timeout_s=self.timeout_s,
        )


def read_sources(environ: Mapping[str, str] = os.environ) -> PackageSources:
    """Read pip's configuration on this node; only its variables if there is no pip.

    Relative paths are resolved from this process' folder, as pip would.
    """
    environ = make_paths_absolute(environ)
    for python in _pythons(environ):
        listing = _ask(python, environ)
        if listing is not None:
            return _from_here(parse_listing(listing))
    return parse_variables(environ)


def parse_listing(listing: str) -> PackageSources:
    """Parse the output of `pip config list`: lines such as global.find-links='/a /b'."""
    settings: dict[str, str] = {}
    for section in _SECTIONS:
        for line in listing.splitlines():
            name, _, value = line.partition("=")
            if name.startswith(section + "."):
                settings[name.removeprefix(section + ".")] = _unquote(value)
    return _sources(settings)


def parse_variables(environ: Mapping[str, str]) -> PackageSources:
    """Parse PIP_FIND_LINKS and similar variables."""
    settings = {
        name.removeprefix("PIP_").lower(): value
        for name, value in environ.items()
        if name.startswith("PIP_") and value
    }
    return _sources(settings)


def uv_variables(sources: PackageSources, environ: Mapping[str, str]) -> dict[str, str]:
    """Return variables to add for uv, except those that the user has set."""
    variables = {
        "UV_DEFAULT_INDEX": sources.index_url,
        "UV_INDEX": " ".join(sources.extra_index_urls),
        "UV_FIND_LINKS": ",".join(sources.find_links),
        "SSL_CERT_FILE": sources.cert,
        "UV_INSECURE_HOST": " ".join(sources.trusted_hosts),
        "HTTPS_PROXY": sources.proxy,
        "HTTP_PROXY": sources.proxy,
        "UV_HTTP_TIMEOUT": sources.timeout_s,
        # pip takes the best version that any index has; uv would stop at the first index that has
        # the name. The risk that uv guards against, a stranger's package of the same name, is met
        # by the hashes that every lock requires.
        "UV_INDEX_STRATEGY": "unsafe-best-match",
    }
    aliases = {
        "UV_DEFAULT_INDEX": "UV_INDEX_URL",
        "UV_INDEX": "UV_EXTRA_INDEX_URL",
        "HTTPS_PROXY": "https_proxy",
        "HTTP_PROXY": "http_proxy",
    }
    return {
        name: value
        for name, value in variables.items()
        if value and name not in environ and aliases.get(name, name) not in environ
    }


def uv_arguments(sources: PackageSources) -> tuple[str, ...]:
    """Return the arguments for settings that uv has no variable for."""
    return ("--no-index",) if sources.no_index else ()


def _sources(settings: Mapping[str, str]) -> PackageSources:
    value = {name.replace("_", "-"): text.strip() for name, text in settings.items()}
    return PackageSources(
        index_url=value.get("index-url", ""),
        extra_index_urls=tuple(value.get("extra-index-url", "").split()),
        find_links=tuple(value.get("find-links", "").split()),
        no_index=value.get("no-index", "").lower() in _TRUE,
        cert=value.get("cert", ""),
        trusted_hosts=tuple(value.get("trusted-host", "").split()),
        proxy=value.get("proxy", ""),
        timeout_s=value.get("timeout") or value.get("default-timeout", ""),
    )


def _from_here(sources: PackageSources) -> PackageSources:
    """A configuration file may also contain relative paths."""
    return replace(
        sources,
        index_url=make_path_absolute(sources.index_url),
        extra_index_urls=tuple(map(make_path_absolute, sources.extra_index_urls)),
        find_links=tuple(map(make_path_absolute, sources.find_links)),
        cert=make_path_absolute(sources.cert),
    )


def _unquote(value: str) -> str:
    """pip prints each value as a Python literal."""
    try:
        return str(ast.literal_eval(value))
    except (ValueError, SyntaxError):
        return value


def _pythons(environ: Mapping[str, str]) -> Iterator[str]:
    """Interpreters that may have pip: our own (uv's venvs lack it), its base, PATH's."""
    yield sys.executable
    yield getattr(sys, "_base_executable", sys.executable)
    found = shutil.which("python3", path=environ.get("PATH"))
    if found:
        yield found


def _ask(python: str, environ: Mapping[str, str]) -> str | None:
    try:
        return subprocess.run(
            [python, "-m", "pip", "config", "list"],
            capture_output=True,
            text=True,
            timeout=ASK_DEADLINE_S,
            env=dict(environ),
            cwd=Path("/"),
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
