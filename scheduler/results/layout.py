"""The paths of files in a results folder, on this machine or in a bucket.

<table>/sweep=<id>/<task>-r<repeat>-a<attempt>.parquet   during a sweep: one attempt,
<table>/sweep=<id>/group-<hash>.parquet                  or several that ended together
<table>/sweep=<id>/sweep.parquet                         of a finished sweep (in a bucket:
<table>/sweep=<id>/sweep-<n>.parquet                     after its n-th compaction)
_sweeps/<id>/{sweep.yaml,plan.parquet,lock}              the sweep file, the plan, the lock
_sweeps/<id>/locks/<framework>==<version>/               locks of versioned frameworks
_sweeps/<id>/{compacted.json,claims/}                    in a bucket: see `bucket_manifest`, `lease`
_staging/<id>/                                           incomplete files
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePath
from typing import Generic, TypeVar

from velodrome.scheduler.results.schema import TABLES

COMPACTED = "sweep.parquet"
PathType = TypeVar("PathType", bound=PurePath, covariant=True)
Named = TypeVar("Named", bound=PurePath)
_COMPACTED = re.compile(r"sweep(-\d+)?\.parquet")
_OURS = re.compile(r"(\w+-r\d+-a\d+|group-[0-9a-f]{16}|[0-9a-f]{16})\.parquet")


@dataclass(frozen=True)
class Layout(Generic[PathType]):
    """Paths below one results folder. Does not read or write."""

    root: PathType

    @property
    def sweeps(self) -> PathType:
        return self.root / "_sweeps"

    @property
    def stagings(self) -> PathType:
        return self.root / "_staging"

    def sweep(self, sweep_id: str) -> PathType:
        return self.sweeps / sweep_id

    def text(self, sweep_id: str) -> PathType:
        return self.sweep(sweep_id) / "sweep.yaml"

    def plan(self, sweep_id: str) -> PathType:
        """Return the path of the plan, the last file to appear when a sweep begins."""
        return self.sweep(sweep_id) / "plan.parquet"

    def version_locks(self, sweep_id: str) -> PathType:
        return self.sweep(sweep_id) / "locks"

    def lock(self, sweep_id: str) -> PathType:
        return self.sweep(sweep_id) / "lock"

    def claims(self, sweep_id: str) -> PathType:
        return self.sweep(sweep_id) / "claims"

    def manifest(self, sweep_id: str) -> PathType:
        return self.sweep(sweep_id) / "compacted.json"

    def staging(self, sweep_id: str) -> PathType:
        return self.stagings / sweep_id

    def table(self, table: str) -> PathType:
        """Return the folder of a table. KeyError if there is no such table."""
        TABLES[table]
        return self.root / table

    def rows(self, table: str, sweep_id: str) -> PathType:
        """Return the folder of a sweep's files of a table. KeyError if there is no such table."""
        return self.table(table) / f"sweep={sweep_id}"


def attempt_file(task_id: str, repeat: int, attempt: int) -> str:
    """Name the file of an attempt. The same attempt overwrites what a crash left."""
    return f"{task_id}-r{repeat}-a{attempt}.parquet"


def group_file(attempts: Iterable[tuple[str, int, int]]) -> str:
    """Name the file of attempts written together: the attempt's own name if it is one."""
    names = [attempt_file(*attempt) for attempt in attempts]
    return names[0] if len(names) == 1 else f"group-{_short_hash(chr(10).join(names))}.parquet"


def is_ours(name: str) -> bool:
    """Return True for the file name of an attempt, a group or a node."""
    return bool(_OURS.fullmatch(name))


def is_rows(name: str) -> bool:
    """Return True for the name of a Parquet file that is not hidden, such as `._sweep.parquet`."""
    return name.endswith(".parquet") and not is_hidden(name)


def are_rows(path: PurePath) -> bool:
    """Return True for a Parquet path below a table with no hidden part."""
    return path.suffix == ".parquet" and not any(map(is_hidden, path.parts))


def is_hidden(name: str) -> bool:
    """Return True for a hidden name, by the rule of Hive, Spark, pyarrow and DuckDB."""
    return name.startswith((".", "_"))


def in_order(names: Iterable[Named]) -> list[Named]:
    """Sort the files of one table and sweep; the first file with a row counts."""
    return sorted(names, key=lambda path: (_rank(path.name), path.name))


def _rank(name: str) -> int:
    """Rank this program's names before those that a copy gets."""
    if _COMPACTED.fullmatch(name):
        return 0
    return 1 if _OURS.fullmatch(name) else 2


def node_file(node_id: str) -> str:
    return f"{_short_hash(node_id)}.parquet"


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
