"""Where everything lies in a results folder.

<table>/sweep=<id>/<task>-r<repeat>-a<attempt>.parquet   while a sweep is in progress
<table>/sweep=<id>/sweep.parquet                         when it is finished
_sweeps/<id>/{sweep.yaml,plan.parquet,lock}              what was asked for, and who is at it
_sweeps/<id>/locks/<framework>==<version>/               what it was locked to
_staging/<id>/                                           what is not whole yet
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from velodrome.scheduler.errors import ConfigError
from velodrome.scheduler.results.schema import TABLES

COMPACTED = "sweep.parquet"
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+")  # pathlib makes one slash of two


@dataclass(frozen=True)
class Layout:
    """Paths below one results folder; nothing is read or written here."""

    root: Path

    @property
    def sweeps(self) -> Path:
        return self.root / "_sweeps"

    @property
    def stagings(self) -> Path:
        return self.root / "_staging"

    def sweep(self, sweep_id: str) -> Path:
        return self.sweeps / sweep_id

    def text(self, sweep_id: str) -> Path:
        return self.sweep(sweep_id) / "sweep.yaml"

    def plan(self, sweep_id: str) -> Path:
        """The last file to appear when a sweep begins."""
        return self.sweep(sweep_id) / "plan.parquet"

    def version_locks(self, sweep_id: str) -> Path:
        return self.sweep(sweep_id) / "locks"

    def lock(self, sweep_id: str) -> Path:
        return self.sweep(sweep_id) / "lock"

    def staging(self, sweep_id: str) -> Path:
        return self.stagings / sweep_id

    def rows(self, table: str, sweep_id: str) -> Path:
        """The folder with a sweep's files of a table. KeyError if there is no such table."""
        TABLES[table]
        return self.root / table / f"sweep={sweep_id}"

    def files(self, table: str, sweep_id: str) -> list[Path]:
        return sorted(self.rows(table, sweep_id).glob("*.parquet"))

    def sweep_ids(self, table: str) -> set[str]:
        """Those with a folder of this table."""
        folders = (self.root / table).glob("sweep=*")
        return {folder.name.removeprefix("sweep=") for folder in folders}


def local_path(results: str | Path) -> Path:
    """The folder that a path or a file: address means. ConfigError for another kind of address."""
    found = _SCHEME.match(str(results))
    if not found:
        return Path(results)
    if found[1].lower() == "file":
        return Path("/" + str(results)[found.end() :])
    problem = f"object stores ({found[1]}://) are not supported yet"
    raise ConfigError(str(results), problem, "Name a folder on this machine.")


def attempt_file(task_id: str, repeat: int, attempt: int) -> str:
    """The same for the same attempt, so that doing it again writes over what a crash left."""
    return f"{task_id}-r{repeat}-a{attempt}.parquet"


def node_file(node_id: str) -> str:
    return f"{hashlib.sha256(node_id.encode()).hexdigest()[:16]}.parquet"
