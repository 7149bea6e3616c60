"""Command `accept`: accepts or rejects every node and GPU that a sweep ran on."""

import sys
from dataclasses import dataclass
from pathlib import Path

from rich.console import Group
from rich.text import Text

from velodrome.scheduler.commands import incomplete_results
from velodrome.scheduler.commands.output import console, make_table, print_json, print_lines
from velodrome.scheduler.commands.report import Form
from velodrome.scheduler.errors import ConfigError
from velodrome.scheduler.next_commands import format_command
from velodrome.scheduler.reports.acceptance import text
from velodrome.scheduler.reports.acceptance.baseline import (
    format_baseline,
    read_baseline,
    select_accepted,
)
from velodrome.scheduler.reports.acceptance.evidence import FleetEvidence, collect_evidence
from velodrome.scheduler.reports.acceptance.junit import format_junit
from velodrome.scheduler.reports.acceptance.verdicts import (
    LEAST,
    Acceptance,
    Times,
    UnitVerdict,
    judge_fleet,
)
from velodrome.scheduler.reports.csv_markdown import to_csv, to_markdown
from velodrome.scheduler.reports.impossible_values import drop_impossible_values
from velodrome.scheduler.results.atomic_files import open_owner_writable
from velodrome.scheduler.results.schema import WITHOUT_CHECKS
from velodrome.scheduler.results.store import Store
from velodrome.scheduler.results.typed_rows import TaskRow, task_rows
from velodrome.scheduler.sweeps.quantities import parse_share, read_option


@dataclass(frozen=True)
class AcceptanceOptions:
    """Options of `accept`, as the user typed them. Files: None, not wanted."""

    results: str
    sweep: str = ""
    baseline: str = ""
    least: float = LEAST
    form: Form = Form.TERMINAL
    junit: Path | None = None
    new_baseline: Path | None = None
    html: Path | None = None


def accept(typed: AcceptanceOptions) -> int:
    """Print the verdicts and write the files.

    Exit status: 1 if a machine fails, INCOMPLETE if rows are missing, else 0.
    """
    store = Store.for_reading(typed.results)
    sweep_id = store.resolve(typed.sweep or "last")
    baseline = read_reference(typed.baseline) if typed.baseline else None
    rows = _read_rows(store, sweep_id)
    incomplete_results.warn_of_faults(store.faults, typed.results)
    evidence = collect_evidence(rows)
    verdicts = judge_fleet(evidence, baseline, typed.least)
    written = _write_files(typed, evidence, verdicts, sweep_id)
    if typed.html:
        written.append(_write_page(store, sweep_id, typed, typed.html, verdicts))
    _print(verdicts, typed.form)
    if typed.form is Form.TERMINAL:
        words = ("report", "--results", typed.results, "--sweep", sweep_id)
        following = format_command(*words)
        print_lines(*written, f"sweep {sweep_id}: {len(rows)} rows; next: {following}")
    is_rejected = any(one.verdict is Acceptance.FAIL for one in verdicts)
    return 1 if is_rejected else incomplete_results.exit_status(store.faults, [sweep_id])


def read_reference(place: str) -> Times:
    """Read a baseline: a file, or the newest sweep of a results folder without its bad machines."""
    if Path(place).is_file():
        return read_baseline(Path(place))
    if "://" not in place and not Path(place).is_dir():
        mend = "Name a file of --write-baseline, or a folder of results."
        raise ConfigError(place, "there is no such baseline", mend)
    store = Store.for_reading(place)
    evidence = collect_evidence(_read_rows(store, store.resolve("last")))
    return select_accepted(evidence, judge_fleet(evidence))


def parse_least(text: str) -> float:
    """Return the slow-down that matters, 0.03 for `3%`; ConfigError for anything else."""
    return read_option("--least", text, parse_share, LEAST)


def _read_rows(store: Store, sweep_id: str) -> list[TaskRow]:
    return task_rows(drop_impossible_values(store.read("tasks", sweep_id, WITHOUT_CHECKS)))


def _write_files(
    typed: AcceptanceOptions,
    evidence: FleetEvidence,
    verdicts: tuple[UnitVerdict, ...],
    sweep_id: str,
) -> list[str]:
    lines = []
    if typed.new_baseline:
        kept = select_accepted(evidence, verdicts)
        _write(typed.new_baseline, format_baseline(kept, sweep_id), "--write-baseline")
        lines.append(f"wrote {typed.new_baseline}: {len(kept)} cells")
    if typed.junit:
        _write(typed.junit, format_junit(verdicts, sweep_id), "--junit")
        lines.append(f"wrote {typed.junit}")
    return lines


def _write_page(
    store: Store,
    sweep_id: str,
    typed: AcceptanceOptions,
    file: Path,
    verdicts: tuple[UnitVerdict, ...],
) -> str:
    from velodrome.scheduler.commands.report_page import render_page
    from velodrome.scheduler.reports.html.page_data import read_task_rows

    rows = read_task_rows(store, sweep_id)
    page = render_page(store, sweep_id, typed.results, rows, verdicts=verdicts)
    _write(file, page, "--html")
    return f"wrote {file}"


def _write(file: Path, content: str, option: str) -> None:
    try:
        with open(file, "wb", opener=open_owner_writable) as target:
            target.write(content.encode(errors="replace"))
    except OSError as error:
        reason = f"cannot be written ({error.strerror or error})"
        raise ConfigError(str(file), reason, f"Name another file with {option}.") from None


def _print(verdicts: tuple[UnitVerdict, ...], form: Form) -> None:
    flat, table = text.build_flat_rows(verdicts), text.table_rows(verdicts)
    left, summary = text.count_left(verdicts), text.summarize(verdicts)
    if form is Form.JSON:
        print_json(flat)
    elif form is Form.CSV:
        print(to_csv(flat, text.COLUMNS), end="")
    elif form is Form.MARKDOWN:
        parts = (to_markdown(table, left), summary, text.LEGEND)
        sys.stdout.write("\n\n".join(part for part in parts if part) + "\n")
    else:
        legend = Text(text.LEGEND, style="dim")
        console().print(Group(make_table(table, left), Text(summary), legend), crop=False)
