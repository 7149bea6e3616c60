"""Choice of an environment's OpenBLAS kernels by trial runs in child processes, stored."""

import functools
import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from velodrome.agents.environments.core_types import (
    USER_VARIABLE,
    VARIABLE,
    CoreTypeSetting,
    KernelChoice,
    OpenBlasRun,
    Probe,
    choose_core_type,
    cpu_flags,
    try_setting,
)
from velodrome.agents.environments.environment import Environment
from velodrome.agents.environments.launch import launch_command
from velodrome.agents.environments.tool_runs import run_tool

DEADLINE_S = 30.0
FILE = "openblas-{}.json"  # in the environment's cache folder, by a part of its key
PROBE_VERSION = 1  # raise it when the tests or the decision change
MODULE = "velodrome.adapters.worker.openblas_probe"
_PASSED_THROUGH = ("PATH", "LD_LIBRARY_PATH")  # without which an interpreter may not start
# Places of wheels, of a package's own folder and of Debian, below the environment or its tree.
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


def choose_kernels(
    environment: Environment, import_path: str, environ: Mapping[str, str] = os.environ
) -> KernelChoice:
    """Choose the kernels for this environment on this CPU; tested once, then read.

    The user's setting (VELODROME_OPENBLAS_CORETYPE) or the recipe's wins. The shell's
    OPENBLAS_CORETYPE is ignored: it was set for other programs. EnvironmentFailed if the
    environment is a tree that cannot be entered.
    """
    named = _user_setting(environment, environ)
    files = find_openblas_files(environment)
    if not files:
        return KernelChoice(setting=named.setting, named_by=named.by) if named else KernelChoice()
    cpuinfo = _cpuinfo()
    key = _key(cpuinfo, environment, files, named)
    file = environment.cache_folder / FILE.format(key[:12])
    choice = _read(file, key)
    if choice is None:
        choice = _choose(environment, import_path, files, named)
        _write(file, key, choice)
    return choice


def _user_setting(environment: Environment, environ: Mapping[str, str]) -> CoreTypeSetting | None:
    if setting := dict(environment.variables).get(VARIABLE):
        return CoreTypeSetting(setting, "environment.toml")
    if setting := environ.get(USER_VARIABLE):
        return CoreTypeSetting(setting, USER_VARIABLE)
    return None


def _choose(
    environment: Environment,
    import_path: str,
    files: tuple[Path, ...],
    named: CoreTypeSetting | None,
) -> KernelChoice:
    probe = make_probe(environment, import_path, files)
    flags = cpu_flags(_cpuinfo())
    return try_setting(named, flags, probe) if named else choose_core_type(flags, probe)


def make_probe(environment: Environment, import_path: str, files: tuple[Path, ...]) -> Probe:
    """Return a function that tests a core type in a child of the environment's interpreter.

    The child has the recipe's variables, as a worker has.
    """
    return lambda setting: _probe(environment, import_path, files, setting)


def find_openblas_files(environment: Environment) -> tuple[Path, ...]:
    """List candidate OpenBLAS files, each once however many links it has, by name.

    A link inside a tree is left out: from outside it leads to the node's own files.
    """
    base, tree = environment.tree or environment.folder, environment.tree
    found = (path for pattern in _PLACES for path in base.glob(pattern))
    files = [path for path in found if not (tree and path.is_symlink())]
    return tuple(sorted({path if tree else path.resolve() for path in files if path.is_file()}))


def _probe(
    environment: Environment, import_path: str, files: tuple[Path, ...], setting: str
) -> tuple[OpenBlasRun, ...] | None:
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
        launch_command(environment, "", ["-B", "-m", MODULE, *places]),
        environ=variables,
        cwd=Path(tempfile.gettempdir()),
        deadline_s=DEADLINE_S,
    )
    return _parse_runs(run.output) if run.ok else None


def _parse_runs(output: str) -> tuple[OpenBlasRun, ...]:
    lines = (line for line in output.splitlines() if line.startswith("{"))
    return tuple(OpenBlasRun(**json.loads(line)) for line in lines)


@functools.cache
def _cpuinfo() -> str:
    try:
        return Path("/proc/cpuinfo").read_text(errors="replace").split("\n\n")[0]
    except OSError:
        return ""


def _key(
    cpuinfo: str, environment: Environment, files: tuple[Path, ...], named: CoreTypeSetting | None
) -> str:
    """Hash of all that decides: the CPU, each library's file, and the test."""
    model = [line for line in cpuinfo.splitlines() if line.startswith(("model name", "flags"))]
    stats = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    text = json.dumps([PROBE_VERSION, model, stats, environment.variables, named and asdict(named)])
    return hashlib.sha256(text.encode()).hexdigest()


def _read(file: Path, key: str) -> KernelChoice | None:
    try:
        fields = json.loads(file.read_text())
        if fields.pop("key") != key:
            return None
        for side in ("own", "run"):
            fields[side] = tuple(OpenBlasRun(**run) for run in fields[side])
        return KernelChoice(**fields)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # missing or incomplete: tested again


def _write(file: Path, key: str, choice: KernelChoice) -> None:
    """Write the choice atomically; if that fails, the test runs again next time."""
    text = json.dumps({"key": key, **asdict(choice)}, indent=2, sort_keys=True)
    part = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        part.write_text(text)
        part.replace(file)
    except OSError:
        part.unlink(missing_ok=True)
