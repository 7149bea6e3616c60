"""Build of a framework environment: choose a lock file and a Python, install, move into place."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from velodrome.adapters.registry import Framework
from velodrome.agents.environments import disk_layout, manifest, uv_messages
from velodrome.agents.environments.accelerators import ROCM
from velodrome.agents.environments.debian_builds import (
    INTERPRETER,
    DebianBuild,
    build_debian_into,
)
from velodrome.agents.environments.disk_layout import Record
from velodrome.agents.environments.environment import environment_hash, fill_variables
from velodrome.agents.environments.failures import EnvironmentFailed, UnsupportedAccelerator
from velodrome.agents.environments.interpreters import obtain_interpreter
from velodrome.agents.environments.pip_configuration import PackageSources
from velodrome.agents.environments.recipes import Lock, Recipe, variable_for
from velodrome.agents.environments.uv_builds import PackageNotFound, Progress, UvBuild, build_into
from velodrome.agents.environments.versions import split


@dataclass(frozen=True)
class BuildSite:
    """Inputs of a build. The caller holds the framework's lock.

    version: the requested one, if the recipe's locks are not the committed ones.
    """

    root: Path
    framework: Framework
    recipe: Recipe
    platform: str
    sources: PackageSources
    environ: Mapping[str, str]
    version: str = ""


def possible_locks(recipe: Recipe, accelerator: str, platform: str) -> Iterator[tuple[str, Lock]]:
    """Yield the hash of each environment that fits the platform, with its lock."""
    for lock in recipe.locks_for(accelerator, platform):
        if recipe.source and not lock.checkout:
            continue
        for minor in lock.python:
            name_hash = environment_hash(lock.identity, recipe.kind, minor, platform)
            yield name_hash, replace(lock, python=(minor,))


def require_lock(framework: str, recipe: Recipe, accelerator: str, platform: str) -> None:
    """Raise EnvironmentFailed, before any work, if no lock fits this node."""
    if split(framework)[1] and not recipe.locks:
        raise EnvironmentFailed(
            f"the lock of {framework} is not on this node: the driver has sent none. Run the sweep "
            f"again, or build it here: `velodrome envs build {framework}`"
        )
    if not recipe.locks_for(accelerator, platform):
        if accelerator == ROCM:
            raise UnsupportedAccelerator(
                f"{framework} is not locked for AMD's GPUs. Set {variable_for(framework)} to an "
                f"interpreter with its build for ROCm"
            )
        raise EnvironmentFailed(
            f"{framework} has no lock for {accelerator} on {platform}"
            f"{_served_text(recipe, platform)}. "
            f"Set {variable_for(framework)} to an interpreter that has {framework}"
        )


def _served_text(recipe: Recipe, platform: str) -> str:
    """Name the accelerators served instead, as the rest of a sentence."""
    others = [device for lock in recipe.locks_for("gpu", platform) for device in lock.devices]
    named = sorted(set(others) - {"cpu"})
    return f", only for {' and '.join(named)}: a newer driver may run that" if named else ""


def build_first(site: BuildSite, accelerator: str, on_progress: Progress) -> None:
    """Build the first lock whose packages are all found. Any other failure ends the build.

    If a later lock is used, the record keeps the fingerprint of the searched package sources.
    """
    locks = site.recipe.locks_for(accelerator, site.platform)
    for lock, instead in zip(locks, (*locks[1:], None), strict=True):
        marker = "" if lock is locks[0] else site.sources.fingerprint
        try:
            return _build_or_keep(site, lock, marker, on_progress)
        except PackageNotFound as missing:
            if instead is None:
                raise _not_found(site, lock, missing) from missing
            on_progress(_fallback_text(lock, instead, missing))


def build_exactly(site: BuildSite, lock: Lock, on_progress: Progress) -> None:
    """Build this lock only, and replace what may exist."""
    try:
        _build(site, lock, "", on_progress)
    except PackageNotFound as missing:
        raise _not_found(site, lock, missing) from missing


def _build_or_keep(site: BuildSite, lock: Lock, marker: str, on_progress: Progress) -> None:
    """Build, or keep an earlier fallback build and mark it as current."""
    for name_hash, _ in possible_locks(
        replace(site.recipe, locks=(lock,)), lock.devices[0], site.platform
    ):
        folder = site.root / f"{site.framework.name}-{name_hash}"
        record = disk_layout.read_record(folder)
        if record:
            return disk_layout.write_record(folder, replace(record, sources=marker))
    return _build(site, lock, marker, on_progress)


def _build(site: BuildSite, lock: Lock, marker: str, on_progress: Progress) -> None:
    if site.recipe.kind == "debian":
        return _build_debian(site, lock, on_progress)
    name = site.framework.name
    interpreter = obtain_interpreter(lock.python, site.environ, on_progress)
    name_hash = environment_hash(lock.identity, site.recipe.kind, interpreter.minor, site.platform)
    final = site.root / f"{name}-{name_hash}"
    build = UvBuild(
        framework=name,
        module=site.recipe.module,
        lock=lock,
        prepare=site.recipe.source.prepare if site.recipe.source else (),
        interpreter=interpreter,
        sources=site.sources,
        variables=fill_variables(
            site.recipe.variables, disk_layout.caches_of(site.root) / final.name
        ),
        environ=site.environ,
    )
    on_progress(f"building {final.name}: {lock.file}, Python {interpreter.version}")
    with disk_layout.temporary_folder(site.root, name, name_hash) as folder:
        entries = build_into(folder, build, on_progress)
        size_bytes = manifest.size_bytes(entries)
        record = Record(
            framework=name,
            hash=name_hash,
            lock=str(lock.path),
            python_version=interpreter.version,
            size_bytes=size_bytes,
            sources=marker,
            source=str(lock.checkout.folder) if lock.checkout else "",
            version=site.version,
        )
        disk_layout.publish(folder, final, record)
    on_progress(f"built {final.name}: {size_bytes // 1_000_000} MB")


def _build_debian(site: BuildSite, lock: Lock, on_progress: Progress) -> None:
    name = site.framework.name
    name_hash = environment_hash(lock.identity, "debian", lock.python[0], site.platform)
    final = site.root / f"{name}-{name_hash}"
    build = DebianBuild(
        framework=name,
        module=site.recipe.module,
        suite=site.recipe.suite,
        lock=lock,
        platform=site.platform,
        variables=fill_variables(
            site.recipe.variables, disk_layout.caches_of(site.root) / final.name
        ),
        environ=site.environ,
    )
    on_progress(f"building {final.name}: {lock.file}, Debian {build.suite}")
    with disk_layout.temporary_folder(site.root, name, name_hash) as folder:
        entries, python_version = build_debian_into(folder, build, on_progress)
        size_bytes = manifest.size_bytes(entries)
        record = Record(
            framework=name,
            hash=name_hash,
            lock=str(lock.path),
            python_version=python_version,
            size_bytes=size_bytes,
            kind="debian",
            interpreter=INTERPRETER,
        )
        disk_layout.publish(folder, final, record)
    on_progress(f"built {final.name}: {size_bytes // 1_000_000} MB")


def _fallback_text(lock: Lock, instead: Lock, missing: PackageNotFound) -> str:
    size = f", a download of {instead.download_mb} MB" if instead.download_mb else ""
    mend = f". To avoid that, {lock.mend}" if lock.mend else ""
    return f"{missing.package} was not found: using {instead.file}{size}{mend}"


def _not_found(site: BuildSite, lock: Lock, missing: PackageNotFound) -> EnvironmentFailed:
    mend = lock.mend or "add an index or a folder that has it"
    return EnvironmentFailed(
        f"{missing.package}, which {site.framework.name} needs, is in no index or folder of pip's "
        f"configuration (`pip config list`): {mend}",
        uv_messages.log_tail(missing.output),
    )
