"""The environments of this node: find, build, check, and remove outdated ones."""

import os
import platform
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import platformdirs

from velodrome.agents.environments import disk_layout
from velodrome.agents.environments.absolute_variables import make_paths_absolute
from velodrome.agents.environments.accelerators import device_of, resolve_accelerator
from velodrome.agents.environments.builds import (
    BuildSite,
    build_exactly,
    build_first,
    possible_locks,
    require_lock,
)
from velodrome.agents.environments.checkouts import require_checkout, source_setting, with_checkout
from velodrome.agents.environments.checks import (
    check_environment,
    check_environment_offline,
    require_intact,
)
from velodrome.agents.environments.environment import Check, Environment
from velodrome.agents.environments.existing import existing_setting, hash_interpreter_path
from velodrome.agents.environments.failures import EnvironmentFailed
from velodrome.agents.environments.frameworks import available_frameworks, find_framework
from velodrome.agents.environments.offline import without_network
from velodrome.agents.environments.pip_configuration import read_sources
from velodrome.agents.environments.recipes import Lock, Recipe, RecipeError, read_recipe
from velodrome.agents.environments.resolution import load_environment, load_existing
from velodrome.agents.environments.version_locking import lock_at_version
from velodrome.agents.environments.versions import Texts, VersionLocks, join, split
from velodrome.agents.safe_text import escape_undecodable

__all__ = ["Check", "Environment", "EnvironmentFailed", "EnvironmentStore", "default_root"]

ACCELERATORS = ("cpu", "gpu")


def default_root(environ: Mapping[str, str] = os.environ) -> Path:
    """Return `envs` in the folder that VELODROME_HOME names, or else in the user's cache folder.

    RecipeError if its path is not UTF-8: locks, records and requests contain it.
    """
    home = environ.get("VELODROME_HOME")
    base = Path(home).expanduser() if home else platformdirs.user_cache_path("velodrome")
    if escape_undecodable(str(base)) != str(base):
        where = "VELODROME_HOME" if home else "the user's cache folder"
        problem = f"{escape_undecodable(str(base))} contains bytes that are not UTF-8"
        raise RecipeError(where, problem, "Set VELODROME_HOME to another folder")
    return base.absolute() / "envs"


def this_platform() -> str:
    """Return the platform, such as `linux-x86_64`."""
    return f"{sys.platform}-{platform.machine()}"


def _ignore(line: str) -> None:
    """Ignore a line of progress."""


class EnvironmentStore:
    """The environments under one folder; any number of processes may use it at once.

    Every method that takes a framework's name raises RecipeError if there is no such framework.
    """

    def __init__(self, root: Path | None = None, environ: Mapping[str, str] = os.environ) -> None:
        self.root = root or default_root(environ)
        self._environ = make_paths_absolute(environ)
        self.versions = VersionLocks(disk_layout.locks_of(self.root))

    def lock_hash(self, framework: str, accelerator: str = "cpu") -> str:
        """Return the hash that a task carries for its environment; nothing is built.

        It hashes the recipe's kind and all its locks for the accelerator in order of preference,
        with their Pythons: so it is equal on the driver and on every node, whichever lock a node
        can install. Environment.hash names the one used. A version that no committed lock has
        (`torch==2.12.1`) is locked first if that was never done here. EnvironmentFailed if that
        fails.
        """
        if split(framework)[1]:
            return self._lock_at(framework, device_of(accelerator))
        recipe = self._recipe(framework)
        place = existing_setting(framework, recipe, self._environ)
        return hash_interpreter_path(place[0]) if place else recipe.lock_hash(accelerator)

    def take_lock(self, framework: str, lock_hash: str, texts: Texts) -> None:
        """Store a version's lock made on another machine, for builds that name its hash."""
        with disk_layout.explain_write_errors(self.root):
            self.versions.keep(framework, lock_hash, texts)

    def find(
        self, framework: str, accelerator: str = "cpu", lock_hash: str = ""
    ) -> Environment | None:
        """Return the complete environment of the recipe's first possible lock, if any.

        accelerator: `cpu`, `gpu` for what this node's driver runs, or one such as `cuda13`, which
        need not be here. lock_hash: selects among a version's locks in `versions`; empty: those
        chosen here. EnvironmentFailed if the user names an interpreter that does not run.
        """
        name, version = split(framework)
        if version:
            lock_hash = lock_hash or self.versions.chosen_hash(framework, device_of(accelerator))
        accelerator = resolve_accelerator(accelerator)
        recipe = self._recipe(framework, lock_hash)
        place = existing_setting(framework, recipe, self._environ)
        if place:
            return (
                load_existing(self.root, framework, recipe, *place, self._environ)
                if place[0].is_file()
                else None
            )
        for name_hash, lock in possible_locks(recipe, accelerator, this_platform()):
            folder = self.root / f"{name}-{name_hash}"
            record = disk_layout.read_record(folder)
            if record:
                return load_environment(self.root, folder, record, recipe, lock)
        return None

    def build(
        self,
        framework: str,
        accelerator: str = "cpu",
        on_progress: Callable[[str], None] = _ignore,
        lock_hash: str = "",
    ) -> Environment:
        """Return the environment of find, built first if missing. EnvironmentFailed if that fails.

        If an earlier build used a later lock, and pip's configuration has changed since, the first
        lock is tried again. An environment with missing or changed files is a failure too: the user
        decides to rebuild it.
        """
        name, version = split(framework)
        if version:
            lock_hash = lock_hash or self._lock_at(framework, device_of(accelerator), on_progress)
        accelerator = resolve_accelerator(accelerator)
        recipe = self._recipe(framework, lock_hash)
        place = existing_setting(framework, recipe, self._environ)
        if place:
            return load_existing(self.root, framework, recipe, *place, self._environ)
        require_checkout(framework, recipe, self._environ)
        require_lock(framework, recipe, accelerator, this_platform())
        found = self._find_usable(framework, recipe, accelerator, lock_hash)
        if found:
            return require_intact(found)
        with (
            disk_layout.explain_write_errors(self.root),
            disk_layout.lock_framework(self.root, name, on_progress),
        ):
            found = self._find_usable(framework, recipe, accelerator, lock_hash)
            if found:
                on_progress(f"{framework} was built meanwhile: using {found.name}")
                return found
            disk_layout.remove_leftovers(self.root, name)
            build_first(self._site(framework, recipe), accelerator, on_progress)
            return self._require_built(framework, accelerator, lock_hash)

    def rebuild(
        self, environment: Environment, on_progress: Callable[[str], None] = _ignore
    ) -> Environment:
        """Build this environment again, and replace the existing one."""
        framework = join(environment.framework, environment.version)
        lock_hash = environment.lock.parent.name if environment.version and environment.lock else ""
        recipe = self._recipe(framework, lock_hash)
        if environment.kind == "source":
            require_checkout(framework, recipe, self._environ)
        for accelerator in ACCELERATORS:
            for name_hash, lock in possible_locks(recipe, accelerator, this_platform()):
                if name_hash == environment.hash:
                    self._rebuild(framework, recipe, lock, on_progress)
                    return self._require_built(framework, accelerator, lock_hash)
        raise EnvironmentFailed(
            f"{environment.python} is your own interpreter. Fix it there"
            if environment.kind == "existing"
            else f"no current lock builds {environment.name}. Run `velodrome envs prune`, "
            f"then `velodrome envs build {framework}`"
        )

    def list(self) -> tuple[Environment, ...]:
        """List all complete environments, outdated ones included, and named interpreters."""
        recipes = self._recipes()
        built = tuple(
            load_environment(self.root, folder, record, recipes.get(record.framework), None)
            for folder, record in disk_layout.list_complete(self.root)
        )
        existing = (
            self.find(name)
            for name, recipe in recipes.items()
            if existing_setting(name, recipe, self._environ)
        )
        return built + tuple(environment for environment in existing if environment)

    def is_current(self, environment: Environment) -> bool:
        """Return True if a current recipe names it."""
        return environment.kind == "existing" or environment.name in self._current_names()

    def check(self, environment: Environment) -> Check:
        """Check that each file is unchanged and that the framework can be imported."""
        framework = available_frameworks(self._environ).get(environment.framework)
        return check_environment(environment, framework, self._environ)

    def check_offline(self, environment: Environment) -> Check:
        """Check it, and that it works offline. EnvironmentFailed if nothing runs offline here."""
        framework = available_frameworks(self._environ).get(environment.framework)
        prefix = without_network(self._environ)
        return check_environment_offline(environment, framework, self._environ, prefix)

    def prune(self) -> tuple[str, ...]:
        """Remove outdated environments, leftovers of builds and unusable ones; return their names.

        Environments under construction or in use stay.
        """
        current = self._current_names()
        removed = disk_layout.remove_all_leftovers(self.root)
        for folder in disk_layout.list_published(self.root):
            wanted = self._is_wanted(folder, current)
            if not wanted and not disk_layout.is_in_use(folder):
                removed += disk_layout.remove_if_free(folder)
        return removed

    def _lock_at(
        self, framework: str, accelerator: str, on_progress: Callable[[str], None] = _ignore
    ) -> str:
        if not self.versions.chosen_hash(framework, accelerator):
            on_progress(f"locking {framework}: no committed lock has this version")
        recipe = read_recipe(Path(find_framework(framework, self._environ).folder))
        with disk_layout.explain_write_errors(self.root):
            return lock_at_version(self.versions, recipe, framework, accelerator, self._environ)

    def _recipe(self, framework: str, lock_hash: str = "") -> Recipe:
        recipe = read_recipe(Path(find_framework(framework, self._environ).folder))
        if split(framework)[1]:
            return self.versions.apply_to(recipe, framework, lock_hash)
        return with_checkout(recipe, framework, self._environ)

    def _is_wanted(self, folder: Path, current: set[str]) -> bool:
        """Keep a build from source until the user names another source."""
        record = disk_layout.read_record(folder)
        if record is None:
            return False
        unnamed = bool(record.source) and source_setting(record.framework, self._environ) is None
        return unnamed or folder.name in current

    def _recipes(self) -> dict[str, Recipe]:
        return {name: self._recipe(name) for name in available_frameworks(self._environ)}

    def _current_names(self) -> set[str]:
        return {
            f"{name}-{name_hash}"
            for name, recipe in self._recipes().items()
            for accelerator in ACCELERATORS
            for name_hash, _ in possible_locks(recipe, accelerator, this_platform())
        }

    def _site(self, framework: str, recipe: Recipe) -> BuildSite:
        return BuildSite(
            root=self.root,
            framework=find_framework(framework, self._environ),
            recipe=recipe,
            platform=this_platform(),
            sources=read_sources(self._environ),
            environ=self._environ,
            version=split(framework)[1],
        )

    def _rebuild(
        self, framework: str, recipe: Recipe, lock: Lock, on_progress: Callable[[str], None]
    ) -> None:
        name = split(framework)[0]
        with (
            disk_layout.explain_write_errors(self.root),
            disk_layout.lock_framework(self.root, name, on_progress),
        ):
            disk_layout.remove_leftovers(self.root, name)
            build_exactly(self._site(framework, recipe), lock, on_progress)

    def _find_usable(
        self, framework: str, recipe: Recipe, accelerator: str, lock_hash: str
    ) -> Environment | None:
        """Return the result of find, unless a better lock may now be available.

        An environment of a later lock is used while the sources are those in which the better one
        was not found; the environment of another node with an older driver, in a shared folder,
        is not.
        """
        found = self.find(framework, accelerator, lock_hash)
        record = disk_layout.read_record(found.folder) if found else None
        if not found or not record:
            return found
        if found.lock == recipe.locks_for(accelerator, this_platform())[0].path:
            return found
        return found if record.sources == read_sources(self._environ).fingerprint else None

    def _require_built(self, framework: str, accelerator: str, lock_hash: str = "") -> Environment:
        found = self.find(framework, accelerator, lock_hash)
        if found is None:
            raise EnvironmentFailed(f"{framework} vanished from {self.root}. Build it again")
        return found
