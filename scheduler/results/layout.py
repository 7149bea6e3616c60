"""Where everything lies in a results folder, on this machine or in a bucket.

<table>/sweep=<id>/<task>-r<repeat>-a<attempt>.parquet   while a sweep is in progress: an attempt,
<table>/sweep=<id>/group-<hash>.parquet                  or several that ended together
<table>/sweep=<id>/sweep.parquet                         when it is finished (in a bucket:
<table>/sweep=<id>/sweep-<n>.parquet                     the n-th time that it was finished)
_sweeps/<id>/{sweep.yaml,plan.parquet,lock}              what was asked for, and who is at it
_sweeps/<id>/locks/<framework>==<version>/               what it was locked to
_sweeps/<id>/{compacted.json,claims/}                    in a bucket: see `bucket`, `claims`
_staging/<id>/                                           what is not whole yet
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePath
from typing import Generic, TypeVar

from velodrome.scheduler.results.schema import TABLES

COMPACTED = "sweep.parquet"
Place = TypeVar("Place", bound=PurePath, covariant=True)
Named = TypeVar("Named", bound=PurePath)
_COMPACTED = re.compile(r"sweep(-\d+)?\.parquet")
_OURS = re.compile(r"(\w+-r\d+-a\d+|group-[0-9a-f]{16}|[0-9a-f]{16})\.parquet")


@dataclass(frozen=True)
class Layout(Generic[Place]):
    """Paths below one results folder; nothing is read or written here."""

    root: Place

    @property
    def sweeps(self) -> Place:
        return self.root / "_sweeps"

    @property
    def stagings(self) -> Place:
        return self.root / "_staging"

    def sweep(self, sweep_id: str) -> Place:
        return self.sweeps / sweep_id

    def text(self, sweep_id: str) -> Place:
        return self.sweep(sweep_id) / "sweep.yaml"

    def plan(self, sweep_id: str) -> Place:
        """The last file to appear when a sweep begins."""
        return self.sweep(sweep_id) / "plan.parquet"

    def version_locks(self, sweep_id: str) -> Place:
        return self.sweep(sweep_id) / "locks"

    def lock(self, sweep_id: str) -> Place:
        return self.sweep(sweep_id) / "lock"

    def claims(self, sweep_id: str) -> Place:
        return self.sweep(sweep_id) / "claims"

    def manifest(self, sweep_id: str) -> Place:
        return self.sweep(sweep_id) / "compacted.json"

    def staging(self, sweep_id: str) -> Place:
        return self.stagings / sweep_id

    def table(self, table: str) -> Place:
        """KeyError if there is no such table."""
        TABLES[table]
        return self.root / table

    def rows(self, table: str, sweep_id: str) -> Place:
        """The folder with a sweep's files of a table. KeyError if there is no such table."""
        return self.table(table) / f"sweep={sweep_id}"


def attempt_file(task_id: str, repeat: int, attempt: int) -> str:
    """The same for the same attempt, so that doing it again writes over what a crash left."""
    return f"{task_id}-r{repeat}-a{attempt}.parquet"


def group_file(attempts: Iterable[tuple[str, int, int]]) -> str:
    """Of attempts that are kept together: the attempt's own name if it is one."""
    names = [attempt_file(*attempt) for attempt in attempts]
    return names[0] if len(names) == 1 else f"group-{_short_hash(chr(10).join(names))}.parquet"


def is_ours(name: str) -> bool:
    """Of a file's name: that of an attempt, of a group or of a node."""
    return bool(_OURS.fullmatch(name))


def is_rows(name: str) -> bool:
    """Of a file's name. Hidden ones are skipped, such as a Mac's `._sweep.parquet`."""
    return name.endswith(".parquet") and not is_hidden(name)


def are_rows(path: PurePath) -> bool:
    """Of a path below a table, none of whose parts is hidden."""
    return path.suffix == ".parquet" and not any(map(is_hidden, path.parts))


def is_hidden(name: str) -> bool:
    """As Hive, Spark, pyarrow and DuckDB have it."""
    return name.startswith((".", "_"))


def in_order(names: Iterable[Named]) -> list[Named]:
    """Files of one table and sweep: of rows that two have, those of the earlier file count."""
    return sorted(names, key=lambda path: (_rank(path.name), path.name))


def _rank(name: str) -> int:
    """Names that this program gives come before those that a copy gets."""
    if _COMPACTED.fullmatch(name):
        return 0
    return 1 if _OURS.fullmatch(name) else 2


def node_file(node_id: str) -> str:
    return f"{_short_hash(node_id)}.parquet"


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
