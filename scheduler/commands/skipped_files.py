"""What a command says of files of results that it could not read, and ends with."""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from velodrome.agents.safe_text import strip_controls
from velodrome.scheduler.errors import INCOMPLETE
from velodrome.scheduler.next_commands import format_command
from velodrome.scheduler.results.file_faults import Fault

MOST = 5  # that are named


def warn_of_faults(faults: Sequence[Fault], results: str | Path) -> None:
    """On standard error, for standard output may be read by a program."""
    lines = [f"{_kind(fault)}: {fault}" for fault in faults[:MOST]]
    if faults:
        more = f"{len(faults) - MOST} more; " if len(faults) > MOST else ""
        lines.append(f"{more}all of them: {check_command(results)}")
    sys.stderr.writelines(f"velodrome: {strip_controls(line)}\n" for line in lines)


def describe_missing(faults: Iterable[Fault], sweep_ids: Iterable[str]) -> str:
    """What whoever reads a number should know first; empty if no row of these sweeps is missing."""
    lost = _of(faults, sweep_ids)
    if not lost:
        return ""
    files = "a file" if len(lost) == 1 else f"{len(lost):,} files"
    named = ", ".join(fault.path for fault in lost[:MOST])
    more = f" and {len(lost) - MOST:,} more" if len(lost) > MOST else ""
    return strip_controls(f"ROWS ARE MISSING: {files} could not be read: {named}{more}")


def exit_status(faults: Iterable[Fault], sweep_ids: Iterable[str]) -> int:
    """Exit status: whether rows of these sweeps are missing."""
    return INCOMPLETE if _of(faults, sweep_ids) else 0


def check_command(results: str | Path) -> str:
    return format_command("results", "check", "--results", results)


def _kind(fault: Fault) -> str:
    return "left out" if fault.loses_rows else "counted once"


def _of(faults: Iterable[Fault], sweep_ids: Iterable[str]) -> list[Fault]:
    chosen = {*sweep_ids}
    return [fault for fault in faults if fault.loses_rows and fault.sweep_id in chosen]
