"""The environments of this node: found, built when missing, checked, removed when outdated."""

import os
import platform
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import platformdirs

from velodrome.agents.environments import disk_layout
from velodrome.agents.environments.absolute_variables import absolute
from velodrome.agents.environments.accelerators import device_of, here
from velodrome.agents.environments.builds import (
    Site,
    build_exactly,
    build_first,
    possible,
    require_lock,
)
from velodrome.agents.environments.checkouts import named, require_checkout, with_checkout
from velodrome.agents.environments.checks import (
    check_environment,
    check_environment_offline,
    require_unharmed,
)
from velodrome.agents.environments.environment import Check, Environment
from velodrome.agents.environments.existing import lock_hash_of, pointed_at
from velodrome.agents.environments.failures import EnvironmentFailed
from velodrome.agents.environments.frameworks import available, framework_named
from velodrome.agents.environments.offline import without_network
from velodrome.agents.environments.pip_configuration import read_sources
from velodrome.agents.environments.recipes import Lock, Recipe, RecipeError, read_recipe
from velodrome.agents.environments.resolution import opened, pointed_environment
from velodrome.agents.environments.version_locking import locked_at
from velodrome.agents.environments.versions import Texts, VersionLocks, named_at, split
from velodrome.agents.safe_text import escape_undecodable

__all__ = ["Check", "Environment", "EnvironmentFailed", "EnvironmentStore", "default_root"]

ACCELERATORS = ("cpu", "gpu")


def default_root(environ: Mapping[str, str] = os.environ) -> Path:
    """`envs` in the folder that VELODROME_HOME names, or else in the user's cache folder.

    RecipeError if its path has bytes that are no UTF-8: locks, records and requests name it.
    """
    home = environ.get("VELODROME_HOME")
    base = Path(home).expanduser() if home else platformdirs.user_cache_path("velodrome")
    if escape_undecodable(str(base)) != str(base):
        where = "VELODROME_HOME" if home else "the user's cache folder"
        problem = f"{escape_undecodable(str(base))} has bytes in it that are no UTF-8"
        raise RecipeError(where, problem, "Let VELODROME_HOME name another folder")
    return base.absolute() / "envs"


def this_platform() -> str:
    """Such as `linux-x86_64`."""
    return f"{sys.platform}-{platform.machine()}"


def _unheard(line: str) -> None:
    """Progress that nobody follows."""


class EnvironmentStore:
    """The environments under one folder. Any number of processes may use it at once.

    Every method that takes a framework's name raises RecipeError if there is no such framework.
    """

    def __init__(self, root: Path | None = None, environ: Mapping[str, str] = os.environ) -> None:
        self.root = root or default_root(environ)
        self._environ = absolute(environ)
        self.versions = VersionLocks(disk_layout.locks_of(self.root))

    def lock_hash(self, framework: str, accelerator: str = "cpu") -> str:
        """What a task carries of its environment; nothing is built or looked for.

        A hash of the recipe's kind and of all its locks for the accelerator in their order of
        preference, each with its Pythons: so it is the same on the driver and on every node,
        whichever of the locks a node can serve. Environment.hash names the one that was used.
        A version that no committed lock names (`torch==2.12.1`) is locked first if it was never
        asked for here. EnvironmentFailed if that fails.
        """
        if split(framework)[1]:
            return self._locked_at(framework, device_of(accelerator))
        recipe = self._recipe(framework)
        place = pointed_at(framework, recipe, self._environ)
        return lock_hash_of(place[0]) if place else recipe.lock_hash(accelerator)

    def take_lock(self, framework: str, lock_hash: str, texts: Texts) -> None:
        """Keep a version's lock that was made on another machine, for builds that name its hash."""
        with disk_layout.writing(self.root):
            self.versions.keep(framework, lock_hash, texts)

    def find(
        self, framework: str, accelerator: str = "cpu", lock_hash: str = ""
    ) -> Environment | None:
        """The complete environment that the recipe's first possible lock names, if any.

        accelerator: `cpu`, `gpu` for what this node's driver runs, or one such as `cuda13`, which
        need not be here. lock_hash: of a version's locks those that are meant, among `versions`;
        empty: those that stand for it here. EnvironmentFailed if the user points at an interpreter
        that does not run.
        """
        name, version = split(framework)
        if version:
            lock_hash = lock_hash or self.versions.chosen(framework, device_of(accelerator))
        accelerator = here(accelerator)
        recipe = self._recipe(framework, lock_hash)
        place = pointed_at(framework, recipe, self._environ)
        if place:
            return (
                pointed_environment(self.root, framework, recipe, *place, self._environ)
                if place[0].is_file()
                else None
            )
        for name_hash, lock in possible(recipe, accelerator, this_platform()):
            folder = self.root / f"{name}-{name_hash}"
            record = disk_layout.read_record(folder)
            if record:
                return opened(self.root, folder, record, recipe, lock)
        return None

    def build(
        self,
        framework: str,
        accelerator: str = "cpu",
        on_progress: Callable[[str], None] = _unheard,
        lock_hash: str = "",
    ) -> Environment:
        """The environment of find, built first if there is none. EnvironmentFailed if that fails.

        Where an earlier build had to take a later lock of the recipe, and pip's configuration has
        changed since, the first lock is tried again. One that stands and has lost or changed files
        is a failure, too: it is for the user to say that it shall be built anew.
        """
        name, version = split(framework)
        if version:
            lock_hash = lock_hash or self._locked_at(framework, device_of(accelerator), on_progress)
        accelerator = here(accelerator)
        recipe = self._recipe(framework, lock_hash)
        place = pointed_at(framework, recipe, self._environ)
        if place:
            return pointed_environment(self.root, framework, recipe, *place, self._environ)
        require_checkout(framework, recipe, self._environ)
        require_lock(framework, recipe, accelerator, this_platform())
        found = self._good_enough(framework, recipe, accelerator, lock_hash)
        if found:
            return require_unharmed(found)
        with disk_layout.writing(self.root), disk_layout.exclusive(self.root, name, on_progress):
            found = self._good_enough(framework, recipe, accelerator, lock_hash)
            if found:
                on_progress(f"{framework} was built meanwhile: using {found.name}")
                return found
            disk_layout.sweep(self.root, name)
            build_first(self._site(framework, recipe), accelerator, on_progress)
            return self._just_built(framework, accelerator, lock_hash)

    def rebuild(
        self, environment: Environment, on_progress: Callable[[str], None] = _unheard
    ) -> Environment:
        """Build this very environment anew, and put it in the place of what is there."""
        framework = named_at(environment.framework, environment.version)
        lock_hash = environment.lock.parent.name if environment.version and environment.lock else ""
        recipe = self._recipe(framework, lock_hash)
        if environment.kind == "source":
            require_checkout(framework, recipe, self._environ)
        for accelerator in ACCELERATORS:
            for name_hash, lock in possible(recipe, accelerator, this_platform()):
                if name_hash == environment.hash:
                    self._rebuild(framework, recipe, lock, on_progress)
                    return self._just_built(framework, accelerator, lock_hash)
        raise EnvironmentFailed(
            f"{environment.python} is an interpreter of yours. Mend it there"
            if environment.kind == "existing"
            else f"no lock of today makes {environment.name}. Run `velodrome envs prune`, "
            f"then `velodrome envs build {framework}`"
        )

    def list(self) -> tuple[Environment, ...]:
        """All complete environments, outdated ones too, and the interpreters pointed at."""
        recipes = self._recipes()
        built = tuple(
            opened(self.root, folder, record, recipes.get(record.framework), None)
            for folder, record in disk_layout.complete(self.root)
        )
        pointed = (
            self.find(name)
            for name, recipe in recipes.items()
            if pointed_at(name, recipe, self._environ)
        )
        return built + tuple(environment for environment in pointed if environment)

    def is_current(self, environment: Environment) -> bool:
        """Whether a recipe of today names it."""
        return environment.kind == "existing" or environment.name in self._current_names()

    def check(self, environment: Environment) -> Check:
        """Whether each file is as it was built, and the framework can still be imported."""
        framework = available(self._environ).get(environment.framework)
        return check_environment(environment, framework, self._environ)

    def check_offline(self, environment: Environment) -> Check:
        """check, and whether it computes where there is no network.

        EnvironmentFailed if nothing can be run without a network here.
        """
        framework = available(self._environ).get(environment.framework)
        prefix = without_network(self._environ)
        return check_environment_offline(environment, framework, self._environ, prefix)

    def prune(self) -> tuple[str, ...]:
        """Remove what no current lock names, what broken builds left and what cannot run any more.

        Returns the names of what was removed.

        What is being built, or has a process running from it, stays.
        """
        current = self._current_names()
        removed = disk_layout.sweep_all(self.root)
        for folder in disk_layout.published(self.root):
            wanted = self._is_wanted(folder, current)
            if not wanted and not disk_layout.is_in_use(folder):
                removed += disk_layout.remove_if_free(folder)
        return removed

    def _locked_at(
        self, framework: str, accelerator: str, on_progress: Callable[[str], None] = _unheard
    ) -> str:
        if not self.versions.chosen(framework, accelerator):
            on_progress(f"locking {framework}, which no committed lock names")
        recipe = read_recipe(Path(framework_named(framework, self._environ).folder))
        with disk_layout.writing(self.root):
            return locked_at(self.versions, recipe, framework, accelerator, self._environ)

    def _recipe(self, framework: str, lock_hash: str = "") -> Recipe:
        recipe = read_recipe(Path(framework_named(framework, self._environ).folder))
        if split(framework)[1]:
            return self.versions.applied(recipe, framework, lock_hash)
        return with_checkout(recipe, framework, self._environ)

    def _is_wanted(self, folder: Path, current: set[str]) -> bool:
        """One made from a source may be meant again, as long as no other source is named."""
        record = disk_layout.read_record(folder)
        if record is None:
            return False
        unnamed = bool(record.source) and named(record.framework, self._environ) is None
        return unnamed or folder.name in current

    def _recipes(self) -> dict[str, Recipe]:
        return {name: self._recipe(name) for name in available(self._environ)}

    def _current_names(self) -> set[str]:
        return {
            f"{name}-{name_hash}"
            for name, recipe in self._recipes().items()
            for accelerator in ACCELERATORS
            for name_hash, _ in possible(recipe, accelerator, this_platform())
        }

    def _site(self, framework: str, recipe: Recipe) -> Site:
        return Site(
            root=self.root,
            framework=framework_named(framework, self._environ),
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
        with disk_layout.writing(self.root), disk_layout.exclusive(self.root, name, on_progress):
            disk_layout.sweep(self.root, name)
            build_exactly(self._site(framework, recipe), lock, on_progress)

    def _good_enough(
        self, framework: str, recipe: Recipe, accelerator: str, lock_hash: str
    ) -> Environment | None:
        """What find finds, unless the lock before it might now be had."""
        found = self.find(framework, accelerator, lock_hash)
        record = disk_layout.read_record(found.folder) if found else None
        if not found or not record or not record.sources:
            return found
        if found.lock == recipe.locks_for(accelerator, this_platform())[0].path:
            return found
        return found if record.sources == read_sources(self._environ).fingerprint else None

    def _just_built(self, framework: str, accelerator: str, lock_hash: str = "") -> Environment:
        found = self.find(framework, accelerator, lock_hash)
        if found is None:
            raise EnvironmentFailed(f"{framework} vanished from {self.root}. Build it again")
        return found
