"""Messages about incomplete results: unreadable files, unfinished sweeps; `results check`."""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from velodrome.agents.safe_text import strip_controls
from velodrome.scheduler.commands.output import print_json, print_lines
from velodrome.scheduler.errors import INCOMPLETE
from velodrome.scheduler.next_commands import format_command
from velodrome.scheduler.results.file_faults import FileFault
from velodrome.scheduler.results.store import Store

MOST_NAMED = 5  # files


def check_results(results: str | Path, *, as_json: bool) -> int:
    """Print every faulty file and its fix. Exit status: INCOMPLETE if there is one."""
    faults = tuple(Store.for_reading(results).check())
    if as_json:
        print_json([{**vars(fault), "loses_rows": fault.loses_rows} for fault in faults])
    else:
        print_lines(*(f"{fault.kind}  {fault}" for fault in faults))
        print_lines(
            f"{len(faults)} files in {results} are faulty"
            if faults
            else f"every file in {results} is valid"
        )
    return INCOMPLETE if faults else 0


def warn_of_faults(faults: Sequence[FileFault], results: str | Path) -> None:
    """Print the faulty files on standard error: a program may read standard output."""
    lines = [f"{_describe_effect(fault)}: {fault}" for fault in faults[:MOST_NAMED]]
    if faults:
        rest = f"{len(faults) - MOST_NAMED} more; " if len(faults) > MOST_NAMED else ""
        check = format_command("results", "check", "--results", results)
        lines.append(f"{rest}to list all of them: {check}")
    sys.stderr.writelines(f"velodrome: {strip_controls(line)}\n" for line in lines)


def describe_missing(faults: Iterable[FileFault], sweep_ids: Iterable[str]) -> str:
    """Name the files that cost these sweeps rows; empty if no row is missing."""
    lost = _select_losses(faults, sweep_ids)
    if not lost:
        return ""
    files = "a file" if len(lost) == 1 else f"{len(lost):,} files"
    names = ", ".join(fault.path for fault in lost[:MOST_NAMED])
    rest = f" and {len(lost) - MOST_NAMED:,} more" if len(lost) > MOST_NAMED else ""
    return strip_controls(f"ROWS ARE MISSING: {files} could not be read: {names}{rest}")


def exit_status(faults: Iterable[FileFault], sweep_ids: Iterable[str]) -> int:
    """Return INCOMPLETE if rows of these sweeps are missing, else 0."""
    return INCOMPLETE if _select_losses(faults, sweep_ids) else 0


def describe_unfinished(store: Store, sweep_id: str, results: str | Path) -> str:
    """Count the planned runs without a row and name the command that resumes; empty if none."""
    summary = store.summary(sweep_id)
    missing = summary.planned - summary.finished
    if missing <= 0:
        return ""
    resume = format_command("run", "--resume", sweep_id, "--results", results)
    verb = "is" if missing == 1 else "are"
    return (
        f"This sweep is not complete: {missing:,} of {summary.planned:,} runs {verb} missing. "
        f"Unless it is still running, resume with: {resume}"
    )


def _describe_effect(fault: FileFault) -> str:
    return "left out" if fault.loses_rows else "counted once"


def _select_losses(faults: Iterable[FileFault], sweep_ids: Iterable[str]) -> list[FileFault]:
    chosen = {*sweep_ids}
    return [fault for fault in faults if fault.loses_rows and fault.sweep_id in chosen]
