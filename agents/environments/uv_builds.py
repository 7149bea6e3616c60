"""Builds with uv: a virtual environment, a lock installed in it, a manifest."""

import errno
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import uv

from velodrome.agents.environments import manifest, uv_messages
from velodrome.agents.environments.existing import NO_GPU, clean_environ
from velodrome.agents.environments.failures import EnvironmentFailed
from velodrome.agents.environments.interpreters import Interpreter
from velodrome.agents.environments.pip_configuration import (
    PackageSources,
    uv_arguments,
    uv_variables,
)
from velodrome.agents.environments.recipes import Lock
from velodrome.agents.environments.source_builds import install_source, require_program
from velodrome.agents.environments.stub_libraries import install_stub_libraries, require_compiler
from velodrome.agents.environments.tool_runs import ToolRun, run_tool

INSTALL_DEADLINE_S = 3600
IMPORT_DEADLINE_S = 300
_MB = 1_000_000
_PROGRESS = ("Resolved", "Downloading", "Building", "Prepared", "Installed", "Bytecode")

Progress = Callable[[str], None]


class PackageNotFound(Exception):
    """No configured index or folder has a package of the lock; another lock may work."""

    def __init__(self, package: str, output: str) -> None:
        super().__init__(package)
        self.package = package
        self.output = output


@dataclass(frozen=True)
class UvBuild:
    """The inputs of a build, and its name for messages."""

    framework: str
    module: str
    lock: Lock
    prepare: tuple[str, ...]
    interpreter: Interpreter
    sources: PackageSources
    variables: tuple[tuple[str, str], ...]
    environ: Mapping[str, str]


def build_into(folder: Path, build: UvBuild, on_progress: Progress) -> manifest.Entries:
    """Fill an empty folder; return its manifest, also written there.

    PackageNotFound, or EnvironmentFailed with the reason; then discard the folder.
    """
    try:
        require_room(folder, build.framework, build.lock)
        require_compiler(build.lock.libraries, build.environ)
        require_program(build.prepare if build.lock.checkout else (), build.environ)
        _make_venv(folder, build)
        _install(folder, build, on_progress)
        _install_checkout(folder, build, on_progress)
        install_stub_libraries(build.lock.libraries, _site_packages(folder, build), build.environ)
        on_progress(f"checking {build.framework}: import {build.module}")
        _require_import(folder, build)
        entries = _require_unchanged(folder, build)
        manifest.write(folder, entries)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise _disk_full(folder, build, str(error)) from error
    return entries


def require_room(folder: Path, framework: str, lock: Lock) -> None:
    """Check disk space before a long download."""
    free_mb = shutil.disk_usage(folder).free // _MB
    if free_mb < lock.size_mb:
        raise EnvironmentFailed(
            f"{framework} needs {lock.size_mb} MB, and the disk of {folder.parent} has "
            f"{free_mb} MB free. Free space, or set VELODROME_HOME to a folder on another disk"
        )


def _make_venv(folder: Path, build: UvBuild) -> None:
    command = [uv.find_uv_bin(), "venv", "--relocatable", "--quiet", "--no-project"]
    command += ["--python", str(build.interpreter.path), str(folder)]
    run = _uv(command, folder, build, lambda line: None)
    if not run.ok:
        raise _explain_failure(folder, build, run)


def _install(folder: Path, build: UvBuild, on_progress: Progress) -> None:
    """Install the lock, with bytecode, so that no measurement writes into the environment."""
    command = [uv.find_uv_bin(), "pip", "install", "--python", str(python_of(folder))]
    command += ["--require-hashes", "-r", str(build.lock.path)]
    command += ["--compile-bytecode"] if _uv_compiles(build) else []
    # Source archives are built with the lock's own packages where they need them.
    command += ["--build-constraints", str(build.lock.path)]
    command += uv_arguments(build.sources)

    def report(line: str) -> None:
        if line.strip().startswith(_PROGRESS):
            on_progress(line.strip())

    run = _uv(command, folder, build, report)
    if run.ok:
        return None if _uv_compiles(build) else _compile_bytecode(folder, build)
    missing = uv_messages.not_found(run.output)
    if missing:
        raise PackageNotFound(missing, run.output)
    raise _explain_failure(folder, build, run)


def _uv_compiles(build: UvBuild) -> bool:
    """uv passes py_compile an option that Python 3.6 lacks."""
    return int(build.interpreter.minor.split(".")[1]) >= 7


def _compile_bytecode(folder: Path, build: UvBuild) -> None:
    """Compile bytecode; errors are ignored: a package may hold files for another Python."""
    run_tool(
        [python_of(folder), "-m", "compileall", "-q", str(_site_packages(folder, build))],
        environ=clean_environ(build.environ),
        cwd=folder,
        deadline_s=INSTALL_DEADLINE_S,
    )


def _install_checkout(folder: Path, build: UvBuild, on_progress: Progress) -> None:
    checkout = build.lock.checkout
    if checkout is None:
        return
    on_progress(f"installing a copy of {checkout.folder}")
    environ = clean_environ(build.environ)

    def run_uv(command: list[str]) -> ToolRun:
        return _uv(command, folder, build, lambda line: None)

    run = install_source(folder, checkout, build.prepare, environ, run_uv)
    if not run.ok:
        raise _explain_failure(folder, build, run)


def _uv(command: list[str], folder: Path, build: UvBuild, on_progress: Progress) -> ToolRun:
    # copy: by default files would be hard links into uv's cache, and whoever changes one in an
    # environment would change it in every environment built afterwards.
    environ = {
        "UV_LINK_MODE": "copy",
        **clean_environ(build.environ),
        **uv_variables(build.sources, build.environ),
    }
    return run_tool(
        command,
        environ=environ,
        cwd=folder.parent,
        deadline_s=INSTALL_DEADLINE_S,
        on_line=on_progress,
    )


def _require_import(folder: Path, build: UvBuild) -> None:
    run = run_tool(
        [python_of(folder), "-c", f"import {build.module}"],
        environ={**clean_environ(build.environ), **dict(build.variables), **NO_GPU},
        cwd=folder,
        deadline_s=IMPORT_DEADLINE_S,
    )
    if not run.ok:
        raise uv_messages.explain_failed_import(build.framework, build.module, run.output)


def _require_unchanged(folder: Path, build: UvBuild) -> manifest.Entries:
    entries = manifest.scan(folder)
    changed = manifest.differing_from_wheel(folder, entries)
    if changed:
        raise EnvironmentFailed(
            f"uv's cache has a changed copy of {changed[0]}. Clear it with `uv cache clean`, then "
            f"build {build.framework} again",
            "\n".join(changed[: uv_messages.LOG_TAIL_LINES]),
        )
    return entries


def _site_packages(folder: Path, build: UvBuild) -> Path:
    return folder / "lib" / f"python{build.interpreter.minor}" / "site-packages"


def python_of(folder: Path) -> Path:
    """Return the path of an environment's interpreter."""
    return folder / "bin" / "python"


def _explain_failure(folder: Path, build: UvBuild, run: ToolRun) -> EnvironmentFailed:
    if uv_messages.is_disk_full(run.output):
        return _disk_full(folder, build, run.output)
    tail = uv_messages.log_tail(run.output)
    if run.timed_out:
        minutes = INSTALL_DEADLINE_S // 60
        reason = f"{build.framework} was not installed after {minutes} min. Check the network"
        return EnvironmentFailed(reason, tail)
    return EnvironmentFailed(uv_messages.explain(run.output, build.framework), tail)


def _disk_full(folder: Path, build: UvBuild, output: str) -> EnvironmentFailed:
    """Describe a full disk; uv's cache may be on another disk than the environments."""
    cache = run_tool(
        [uv.find_uv_bin(), "cache", "dir"], environ=build.environ, cwd=Path("/"), deadline_s=30
    ).output.strip()
    places = [folder.parent, *([Path(cache)] if Path(cache).is_dir() else [])]
    free = ", ".join(
        f"{shutil.disk_usage(place).free // _MB} MB free in {place}" for place in places
    )
    size = f" {build.lock.size_mb} MB" if build.lock.size_mb else ""
    return EnvironmentFailed(
        f"the disk filled up while {build.framework}{size} was being installed (now {free}). Free "
        f"space, or set VELODROME_HOME or UV_CACHE_DIR to a folder on another disk",
        uv_messages.log_tail(output),
    )
