"""Faults of result files: which rows are left out, why, and how to repair them."""

import errno
from dataclasses import dataclass
from enum import StrEnum

import pyarrow as pa

from velodrome.scheduler.errors import StoreError

LONGEST_REASON = 200  # characters of what a library says


class FaultKind(StrEnum):
    """The kind of a file's fault."""

    UNREADABLE = "unreadable"  # its rows are missing
    VANISHED = "vanished"  # it was listed: compacted since, or it never comes
    COPY = "copy"  # its rows are in other files, too: none is missing
    STRAY = "stray"  # its rows count nowhere


@dataclass(frozen=True)
class FileFault:
    """A file that cannot be counted. path: in the results' file system.

    table, sweep_id: of its place, not of its content.
    """

    path: str
    table: str
    sweep_id: str
    kind: FaultKind
    problem: str
    mend: str

    @property
    def loses_rows(self) -> bool:
        return self.kind is not FaultKind.COPY

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}. {self.mend}"


def refuse_lost_rows(fault: FileFault) -> None:
    """Raise StoreError if rows are missing: a writer would measure them again or drop them."""
    if fault.loses_rows:
        raise StoreError(str(fault))


class DanglingLink(OSError):
    """A link to a missing target. Unlike a vanished file, a retry does not help."""


class NotARegularFile(OSError):
    """A folder, pipe or device in the place of a file."""


AWAY = "Copy it again from where it is whole, or move it out of the results"


def fault_of_error(path: object, table: str, sweep_id: str, error: Exception) -> FileFault:
    """Make a fault from the exception of opening or reading a file."""
    if isinstance(error, FileNotFoundError):
        mend = "Look whether somebody else writes to these results"
        problem, kind = "it was listed, but is missing", FaultKind.VANISHED
    else:
        (problem, mend), kind = _describe_error(error), FaultKind.UNREADABLE
        if table == "tasks" and mend == AWAY:
            # Samples of the lost rows would stand beside those of the new ones.
            mend = (
                f"{AWAY} with those of its name in the other tables; --resume measures them again"
            )
    return FileFault(str(path), table, sweep_id, kind, problem, f"{mend}.")


def _describe_error(error: Exception) -> tuple[str, str]:
    if isinstance(error, DanglingLink):
        return "it is a link to a missing target", "Mount the target, or remove the link"
    if isinstance(error, NotARegularFile):
        return f"it is {error}", "Move it out of the results"
    text = " ".join(str(error).split())[:LONGEST_REASON].rstrip(" .")
    if isinstance(error, OSError):
        if error.errno in (errno.EACCES, errno.EPERM) or "ACCESS_DENIED" in text:
            return (
                f"this user may not read it ({error.strerror or text})",
                "Give yourself some",
            )
        if error.errno:
            return f"it cannot be read: {error.strerror}", AWAY
    if "magic bytes" in text or "file size is" in text or "footer" in text.lower():
        return "it is no Parquet file, or its end is missing", AWAY
    if isinstance(error, (pa.ArrowException, OSError)):
        return f"it is damaged: {text}", AWAY
    return text, AWAY
