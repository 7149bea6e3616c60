"""The OpenBLAS libraries of an environment, tried in children and remembered beside its caches."""

import functools
import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from velodrome.agents.environments.core_types import (
    OF_THE_USER,
    VARIABLE,
    Choice,
    Named,
    Probe,
    Seen,
    choose,
    cpu_flags,
    take,
)
from velodrome.agents.environments.environment import Environment
from velodrome.agents.environments.launch import started
from velodrome.agents.environments.tool_runs import run_tool

DEADLINE_S = 30.0
FILE = "openblas-{}.json"  # in the environment's cache folder, by a part of its key
PROBE_VERSION = 1  # raised when what is tried, or how it is decided, changes
MODULE = "velodrome.adapters.worker.openblas_probe"
_PASSED_THROUGH = ("PATH", "LD_LIBRARY_PATH")  # without which an interpreter may not start
# Where wheels, a package's own folder and Debian put it, below the environment or its tree.
_PLACES = (
    "lib/python3*/site-packages/*.libs/*openblas*.so*",
    "lib/python3*/site-packages/*/.libs/*openblas*.so*",
    "lib/python3*/site-packages/*/*openblas*.so*",
    "lib/python3*/site-packages/*/lib/*openblas*.so*",
    *(
        f"{system}lib/{place}*openblas*.so*"
        for system in ("", "usr/")
        for place in ("", "*/", "*/*openblas*/")
    ),
)


def choice_for(
    environment: Environment, import_path: str, environ: Mapping[str, str] = os.environ
) -> Choice:
    """What this environment's workers get on this CPU; tried once, then read.

    The user's own word (VELODROME_OPENBLAS_CORETYPE) or the recipe's decides where there is one.
    What the shell happens to export as OPENBLAS_CORETYPE is none: it was set for other programs.
    EnvironmentFailed if the environment is a tree that cannot be entered.
    """
    named = _named(environment, environ)
    files = libraries(environment)
    if not files:
        return Choice(setting=named.setting, named_by=named.by) if named else Choice()
    cpuinfo = _cpuinfo()
    key = _key(cpuinfo, environment, files, named)
    kept = environment.cache_folder / FILE.format(key[:12])
    known = _read(kept, key)
    if known is None:
        known = _tried(environment, import_path, files, named)
        _write(kept, key, known)
    return known


def _named(environment: Environment, environ: Mapping[str, str]) -> Named | None:
    if setting := dict(environment.variables).get(VARIABLE):
        return Named(setting, "environment.toml")
    if setting := environ.get(OF_THE_USER):
        return Named(setting, OF_THE_USER)
    return None


def _tried(
    environment: Environment, import_path: str, files: tuple[Path, ...], named: Named | None
) -> Choice:
    probe = probe_in(environment, import_path, files)
    flags = cpu_flags(_cpuinfo())
    return take(named, flags, probe) if named else choose(flags, probe)


def probe_in(environment: Environment, import_path: str, files: tuple[Path, ...]) -> Probe:
    """What these files run under a core type: a child of the environment's interpreter each time.

    It has the recipe's variables, as a worker has them.
    """
    return lambda setting: _probe(environment, import_path, files, setting)


def libraries(environment: Environment) -> tuple[Path, ...]:
    """Files that may be an OpenBLAS, each once whatever links to it, in the order of names.

    A link inside a tree is left out: from outside it leads to the node's own files.
    """
    base, tree = environment.tree or environment.folder, environment.tree
    found = (path for pattern in _PLACES for path in base.glob(pattern))
    files = [path for path in found if not (tree and path.is_symlink())]
    return tuple(sorted({path if tree else path.resolve() for path in files if path.is_file()}))


def _probe(
    environment: Environment, import_path: str, files: tuple[Path, ...], setting: str
) -> tuple[Seen, ...] | None:
    base = environment.tree
    places = [f"/{path.relative_to(base)}" if base else str(path) for path in files]
    passed = {name: value for name, value in os.environ.items() if name in _PASSED_THROUGH}
    variables = {
        "PATH": os.defpath,
        **passed,
        "PYTHONPATH": import_path,
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        **dict(environment.variables),
        **({VARIABLE: setting} if setting else {}),
    }
    run = run_tool(
        started(environment, "", ["-B", "-m", MODULE, *places]),
        environ=variables,
        cwd=Path(tempfile.gettempdir()),
        deadline_s=DEADLINE_S,
    )
    return _seen(run.output) if run.ok else None


def _seen(output: str) -> tuple[Seen, ...]:
    lines = (line for line in output.splitlines() if line.startswith("{"))
    return tuple(Seen(**json.loads(line)) for line in lines)


@functools.cache
def _cpuinfo() -> str:
    try:
        return Path("/proc/cpuinfo").read_text(errors="replace").split("\n\n")[0]
    except OSError:
        return ""


def _key(
    cpuinfo: str, environment: Environment, files: tuple[Path, ...], named: Named | None
) -> str:
    """Of all that decides: the CPU, each library's file, and what is done with them here."""
    model = [line for line in cpuinfo.splitlines() if line.startswith(("model name", "flags"))]
    stats = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    told = json.dumps([PROBE_VERSION, model, stats, environment.variables, named and asdict(named)])
    return hashlib.sha256(told.encode()).hexdigest()


def _read(file: Path, key: str) -> Choice | None:
    try:
        fields = json.loads(file.read_text())
        if fields.pop("key") != key:
            return None
        for side in ("own", "run"):
            fields[side] = tuple(Seen(**seen) for seen in fields[side])
        return Choice(**fields)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # not there, or not whole: tried again


def _write(file: Path, key: str, choice: Choice) -> None:
    """Whole or not at all; where it cannot be written it is tried again the next time."""
    text = json.dumps({"key": key, **asdict(choice)}, indent=2, sort_keys=True)
    part = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        part.write_text(text)
        part.replace(file)
    except OSError:
        part.unlink(missing_ok=True)
