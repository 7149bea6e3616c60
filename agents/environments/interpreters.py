"""The Python interpreters of this node, and how to obtain a missing one."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import uv

from velodrome.agents.environments.failures import EnvironmentFailed
from velodrome.agents.environments.tool_runs import run_tool

PROBE_DEADLINE_S = 20
FETCH_DEADLINE_S = 900

# ctypes and zlib: an interpreter compiled without them runs, but no framework runs in it.
# Python.h: torch.compile and Theano compile against it; Debian ships it apart.
_PROBE = """
import ctypes, json, os, sys, sysconfig, zlib
print(json.dumps([
    getattr(sys, "_base_executable", None) or sys.executable,
    "%d.%d.%d" % sys.version_info[:3],
    sys.implementation.name,
    os.path.exists(os.path.join(sysconfig.get_paths()["include"], "Python.h")),
]))
"""


@dataclass(frozen=True)
class Interpreter:
    """A tested CPython. source: how it was found."""

    path: Path
    version: str
    source: str
    has_headers: bool

    @property
    def minor(self) -> str:
        return minor_of(self.version)


def minor_of(version: str) -> str:
    """Return `3.12` for `3.12.1`."""
    return ".".join(version.split(".")[:2])


def find_interpreter(wanted: Sequence[str], environ: Mapping[str, str]) -> Interpreter | None:
    """Find an interpreter of the first wanted minor that this node has; nothing is downloaded.

    Of one minor, the first with Python.h, else the first, in this order: Velodrome's own, pyenv's
    versions, uv's, PATH.
    """
    for minor in wanted:
        first = None
        for interpreter in _find_working(minor, environ):
            if interpreter.has_headers:
                return interpreter
            first = first or interpreter
        if first:
            return first
    return None


def obtain_interpreter(
    wanted: Sequence[str], environ: Mapping[str, str], on_progress: Callable[[str], None]
) -> Interpreter:
    """Find an interpreter, or else download the first wanted minor with uv.

    EnvironmentFailed states what was searched for, where, and how to provide one.
    """
    found = find_interpreter(wanted, environ)
    if found:
        return found
    on_progress(f"no Python {_either(wanted)} on this node: downloading {wanted[0]}")
    command = [uv.find_uv_bin(), "python", "install", "--no-bin", wanted[0]]
    run = run_tool(
        command,
        environ=environ,
        cwd=Path("/"),
        deadline_s=FETCH_DEADLINE_S,
        on_line=on_progress,
    )
    found = find_interpreter(wanted, environ) if run.ok else None
    if found:
        return found
    raise EnvironmentFailed(
        f"no Python {_either(wanted)}: none under pyenv's versions ({_pyenv_root(environ)}), "
        f"on PATH or among uv's, and uv could not download one. Install one of them, for example "
        f"with `pyenv install {wanted[0]}`, or put a python{wanted[0]} on PATH",
        run.output,
    )


def probe(path: Path, source: str, environ: Mapping[str, str]) -> Interpreter | None:
    """Test an interpreter. None if it does not run, is not CPython, or lacks ctypes or zlib."""
    clean = {name: value for name, value in environ.items() if not name.startswith("PYTHON")}
    try:
        answer = subprocess.run(
            [path, "-I", "-c", _PROBE],
            capture_output=True,
            timeout=PROBE_DEADLINE_S,
            env=clean,
            check=True,
        ).stdout
        real, version, implementation, has_headers = json.loads(answer)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    if implementation != "cpython":
        return None
    return Interpreter(Path(real), version, source, has_headers)


def _find_working(minor: str, environ: Mapping[str, str]) -> Iterator[Interpreter]:
    """Yield each real interpreter of this minor once."""
    seen = set()
    for path, source in _candidates(minor, environ):
        real = path.resolve()
        if real in seen:
            continue
        seen.add(real)
        interpreter = probe(path, source, environ)
        if interpreter and interpreter.minor == minor:
            yield interpreter


def _candidates(minor: str, environ: Mapping[str, str]) -> Iterator[tuple[Path, str]]:
    """Yield all candidates for this minor, in order of preference."""
    if minor == f"{sys.version_info[0]}.{sys.version_info[1]}":
        yield Path(getattr(sys, "_base_executable", "") or sys.executable), "velodrome"
    for root, pattern, source in (
        (_pyenv_root(environ) / "versions", f"{minor}.*/bin/python", "pyenv"),
        (_managed_root(environ), f"cpython-{minor}.*/bin/python{minor}", "uv"),
    ):
        for path in sorted(root.glob(pattern), key=_version_key, reverse=True):
            yield path, source
    for name in (f"python{minor}", "python3", "python"):
        for folder in _path_folders(environ):
            found = shutil.which(name, path=folder)
            if found:
                yield Path(found), "PATH"


def _path_folders(environ: Mapping[str, str]) -> Iterator[str]:
    """PATH without pyenv's shims: slow scripts that fail, or lead to one of its versions."""
    pyenv = _pyenv_root(environ)
    for folder in environ.get("PATH", os.defpath).split(os.pathsep):
        if folder and not Path(folder).is_relative_to(pyenv):
            yield folder


def _version_key(path: Path) -> tuple[int, ...]:
    """3.12.10 after 3.12.9."""
    version = re.search(r"(\d+)\.(\d+)\.(\d+)", str(path))
    return tuple(int(part) for part in version.groups()) if version else ()


def _pyenv_root(environ: Mapping[str, str]) -> Path:
    """pyenv's own rule, or else its shims on PATH: HOME may have changed since."""
    named = environ.get("PYENV_ROOT")
    usual = _home(environ) / ".pyenv"
    if named or usual.is_dir():
        return Path(named or usual)
    for folder in environ.get("PATH", os.defpath).split(os.pathsep):
        path = Path(folder)
        if path.name == "shims" and (path.parent / "versions").is_dir():
            return path.parent
    return usual


def _managed_root(environ: Mapping[str, str]) -> Path:
    """The folder of uv's interpreters (`uv python dir`)."""
    named = environ.get("UV_PYTHON_INSTALL_DIR")
    if named:
        return Path(named)
    data = environ.get("XDG_DATA_HOME") or _home(environ) / ".local" / "share"
    return Path(data) / "uv" / "python"


def _home(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("HOME") or Path.home())


def _either(wanted: Sequence[str]) -> str:
    return " or ".join(wanted)
