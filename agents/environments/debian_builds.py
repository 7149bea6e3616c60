"""Builds with mmdebstrap: a Debian tree, whose packages must equal the lock's."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from velodrome.agents.environments import debian_packages, manifest, uv_messages
from velodrome.agents.environments.debian_messages import explain
from velodrome.agents.environments.debian_sources import DebianSources, read_debian_sources
from velodrome.agents.environments.environment import Environment
from velodrome.agents.environments.existing import clean_environ
from velodrome.agents.environments.failures import EnvironmentFailed
from velodrome.agents.environments.launch import launch_command, require_tree_access
from velodrome.agents.environments.recipes import Lock
from velodrome.agents.environments.tool_runs import run_tool
from velodrome.agents.environments.uv_builds import IMPORT_DEADLINE_S, require_room

BUILD_DEADLINE_S = 1800
TREE = "tree"
PEAK_SHARE = 2.3  # the tree, its packages and its archive, over the tree alone
INTERPRETER = f"{TREE}/usr/bin/python3"
ARCHITECTURES = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "ppc64le": "ppc64el",
    "s390x": "s390x",
    "i686": "i386",
}
_SBIN = "/usr/local/sbin:/usr/sbin:/sbin"  # mmdebstrap's tools; no part of a user's PATH
# No part of a measurement, but a fifth of the files and of their time.
_LEFT_OUT = ("doc", "man", "info", "locale", "lintian", "bug")
_PROGRESS = ("I: installing", "I: downloading", "I: extracting", "I: running apt-get")


@dataclass(frozen=True)
class DebianBuild:
    """The inputs of a build, and its name for messages. platform: such as linux-x86_64."""

    framework: str
    module: str
    suite: str
    lock: Lock
    platform: str
    variables: tuple[tuple[str, str], ...]
    environ: Mapping[str, str]


def build_debian_into(
    folder: Path, build: DebianBuild, on_progress: Callable[[str], None]
) -> tuple[manifest.Entries, str]:
    """Fill an empty folder; return its manifest, also written there, and its Python's version.

    EnvironmentFailed with the reason; then discard the folder.
    """
    require_tools(build.framework, build.environ)
    size_mb = int(PEAK_SHARE * build.lock.size_mb)
    require_room(folder, build.framework, replace(build.lock, size_mb=size_mb))
    expected = debian_packages.parse_lock(build.lock.path.read_text())
    wanted = [f"{name}={version}" for name, version in expected.items()]
    make_tree(folder / TREE, build, wanted, on_progress)
    _require_locked(folder / TREE, build, expected)
    on_progress(f"checking {build.framework}: import {build.module}")
    version = _require_import(folder, build)
    entries = manifest.scan(folder)
    manifest.write(folder, entries)
    return entries, version


def tree_of(folder: Path) -> Path:
    """Return the tree's path in an environment's folder."""
    return folder / TREE


def require_tools(framework: str, environ: Mapping[str, str]) -> None:
    """Raise EnvironmentFailed, before any download, if tools are missing."""
    if not shutil.which("mmdebstrap", path=environ.get("PATH")):
        raise EnvironmentFailed(
            f"the build of {framework} needs mmdebstrap, which is not installed. "
            "Run `apt-get install mmdebstrap bubblewrap`"
        )
    require_tree_access(framework)


def make_tree(
    tree: Path, build: DebianBuild, packages: Sequence[str], on_progress: Callable[[str], None]
) -> None:
    """Create a tree with these packages and their dependencies, owned by this user.

    Through an archive: mmdebstrap would leave device nodes and, for a user, files of mapped user
    ids that the user cannot remove.
    """
    sources = read_debian_sources(build.environ)
    archive = tree.with_suffix(".tar")

    def report(line: str) -> None:
        if line.startswith(_PROGRESS):
            on_progress(line.removeprefix("I: "))

    command = _mmdebstrap(archive, build, sources, packages)
    run = run_tool(
        command,
        environ=_environ(build, archive.parent),
        cwd=archive.parent,
        deadline_s=BUILD_DEADLINE_S,
        on_line=report,
    )
    if not run.ok:
        raise explain(run, build.framework, build.suite, sources.mirror)
    tree.mkdir()
    unpack = ["tar", "-x", "--no-same-owner", "--exclude=./dev/*"]
    unpack += ["-C", str(tree), "-f", str(archive)]
    run = run_tool(unpack, environ=build.environ, cwd=archive.parent, deadline_s=BUILD_DEADLINE_S)
    archive.unlink()
    if not run.ok:
        raise explain(run, build.framework, build.suite, sources.mirror)


def _mmdebstrap(
    archive: Path, build: DebianBuild, sources: DebianSources, packages: Sequence[str]
) -> list[str]:
    """Build the command line."""
    machine = build.platform.partition("-")[2]
    mode = "root" if os.geteuid() == 0 else "unshare"
    command = [*_own_mounts(), "mmdebstrap", f"--mode={mode}", "--variant=apt", "--components=main"]
    command += [f"--architectures={ARCHITECTURES.get(machine, machine)}"]
    # A release that is no longer maintained gets no new signature either.
    options = ['Acquire::Check-Valid-Until "false";', *sources.proxies]
    command += [f"--aptopt={option}" for option in options]
    command += ["--dpkgopt=force-unsafe-io"]
    command += [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in _LEFT_OUT]
    command += [f"--include={','.join(packages)}", build.suite, str(archive)]
    return [*command, *([sources.mirror] if sources.mirror else [])]


def _own_mounts() -> list[str]:
    """A prefix for mmdebstrap, which as root mounts /sys and /dev into the tree.

    In a mount namespace these end with it. Otherwise removing the tree would reach the node's own.
    A root user who may not create a namespace may not mount either.
    """
    alone = ["unshare", "--mount"]
    try:
        works = subprocess.run([*alone, "true"], capture_output=True, check=False).returncode == 0
    except OSError:
        return []
    return alone if works and os.geteuid() == 0 else []


def _environ(build: DebianBuild, folder: Path) -> dict[str, str]:
    """Let root unpack below our folder, so that leftovers of a killed build are removed.

    A user must unpack where mapped user ids have access, and our folder is not.
    """
    environ = clean_environ(build.environ)
    environ["PATH"] = f"{environ.get('PATH', os.defpath)}:{_SBIN}"
    return {**environ, "TMPDIR": str(folder)} if os.geteuid() == 0 else environ


def _require_locked(tree: Path, build: DebianBuild, expected: debian_packages.Packages) -> None:
    found = debian_packages.read_installed(tree)
    changes = debian_packages.list_differences(expected, found)
    if changes:
        raise EnvironmentFailed(
            f"{build.suite} differs from the lock of {build.framework}: {changes[0]}. "
            f"Use another mirror, or renew the lock: `velodrome envs lock {build.framework}`",
            "\n".join(changes[: uv_messages.LOG_TAIL_LINES]),
        )


def _require_import(folder: Path, build: DebianBuild) -> str:
    """Return the version of the Python that imports it."""
    environment = Environment(
        build.framework, "", folder, folder / INTERPRETER, None, tree=folder / TREE
    )
    code = f"import platform, {build.module}; print(platform.python_version())"
    run = run_tool(
        launch_command(environment, "", ["-B", "-c", code]),
        environ={**clean_environ(build.environ), **dict(build.variables)},
        cwd=Path(tempfile.gettempdir()),
        deadline_s=IMPORT_DEADLINE_S,
    )
    if not run.ok:
        raise uv_messages.explain_failed_import(build.framework, build.module, run.output)
    return run.output.splitlines()[-1].strip()
