"""The shell's variables that contain relative paths, made absolute for other processes.

pip, uv and Ray's workers run in other folders than the user's shell, so a relative path that is
valid in the shell would be invalid there.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path

# Separators of paths; variables that take a path by `pip install -h` and `uv help pip install`.
SPACES, COMMAS, COLONS, ONE = r"(\s+)", r"([\s,]+)", f"({re.escape(os.pathsep)})", "($^)"
SEPARATED = {
    "PIP_FIND_LINKS": SPACES,
    "PIP_INDEX_URL": ONE,
    "PIP_EXTRA_INDEX_URL": SPACES,
    "PIP_CONSTRAINT": SPACES,
    "PIP_BUILD_CONSTRAINT": SPACES,
    "PIP_REQUIREMENT": SPACES,
    "PIP_CERT": ONE,
    "PIP_CLIENT_CERT": ONE,
    "PIP_CONFIG_FILE": ONE,
    "PIP_CACHE_DIR": ONE,
    "UV_FIND_LINKS": COMMAS,
    "UV_DEFAULT_INDEX": ONE,
    "UV_INDEX_URL": ONE,
    "UV_INDEX": SPACES,
    "UV_EXTRA_INDEX_URL": SPACES,
    "UV_CONSTRAINT": SPACES,
    "UV_BUILD_CONSTRAINT": SPACES,
    "UV_OVERRIDE": SPACES,
    "UV_EXCLUDE": SPACES,
    "UV_CONFIG_FILE": ONE,
    "UV_CACHE_DIR": ONE,
    "UV_PYTHON_INSTALL_DIR": ONE,
    "UV_PYTHON_CACHE_DIR": ONE,
    "SSL_CERT_FILE": ONE,
    "SSL_CERT_DIR": COLONS,
    "SSL_CLIENT_CERT": ONE,
    "REQUESTS_CA_BUNDLE": ONE,
    "CURL_CA_BUNDLE": ONE,
    "NETRC": ONE,
    "VELODROME_HOME": ONE,
    "VELODROME_LOCKS": ONE,
    "VELODROME_ADAPTERS": COLONS,
    "VELODROME_MODELS": COLONS,
    "LD_LIBRARY_PATH": COLONS,
}
OF_FRAMEWORKS = ("VELODROME_PYTHON_", "VELODROME_SOURCE_")
# They may name folders that do not exist yet.
CREATED = {"UV_CACHE_DIR", "UV_PYTHON_INSTALL_DIR", "PIP_CACHE_DIR", "VELODROME_HOME"}


def make_paths_absolute(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment with absolute paths, for a process that runs in another folder.

    A path that does not exist here stays as typed: it is an address, or an error to report.
    """
    try:
        folder = Path.cwd()
    except FileNotFoundError:  # it was removed
        return dict(environ)
    return {name: _absolute(name, value, folder) for name, value in environ.items()}


def _absolute(name: str, value: str, folder: Path) -> str:
    separator = ONE if name.startswith(OF_FRAMEWORKS) else SEPARATED.get(name)
    if not separator:
        return value
    parts = re.split(separator, value)
    return "".join(_resolve(part, folder, to_make=name in CREATED) for part in parts)


def make_path_absolute(path: str) -> str:
    """Make a path from a configuration file absolute, as make_paths_absolute does."""
    return make_paths_absolute({"PIP_CERT": path})["PIP_CERT"]


def _resolve(path: str, folder: Path, *, to_make: bool) -> str:
    """The tools themselves expand `~`."""
    if not path or path.startswith(("/", "~")) or "://" in path:
        return path
    place = folder / path
    return str(place) if to_make or os.path.exists(place) else path  # noqa: PTH110 (never raises)
