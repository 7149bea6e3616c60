"""Command `nightly`: measures a sweep, compares it with earlier runs, reports regressions."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from rich.console import Console

from velodrome.scheduler.commands.history_estimates import RunPlanner, parse_budget
from velodrome.scheduler.commands.output import console, print_json, print_lines
from velodrome.scheduler.commands.sweep_run import (
    execute_run,
    prepare_run,
    print_line,
    resume_command,
)
from velodrome.scheduler.commands.target import Target
from velodrome.scheduler.commands.trend_site import REPORTS, write_site
from velodrome.scheduler.comparison.causes import index_nodes
from velodrome.scheduler.errors import INCOMPLETE, ConfigError, StoreError, VelodromeError
from velodrome.scheduler.history.cell_series import History, NodeCell
from velodrome.scheduler.history.false_alarms import estimate_false_alarms
from velodrome.scheduler.history.history_reading import list_run_ids, parse_sweep_name, read_history
from velodrome.scheduler.history.latest_run import RunVerdict, judge
from velodrome.scheduler.next_commands import format_command
from velodrome.scheduler.nightly import explanations, missing_cells
from velodrome.scheduler.nightly.confirmation import plan_confirmation
from velodrome.scheduler.nightly.junit import format_junit
from velodrome.scheduler.nightly.nightly_result import NightlyRun
from velodrome.scheduler.nightly.phrases import format_count
from velodrome.scheduler.nightly.summary import format_summary
from velodrome.scheduler.plans.placement import FIRST_CONFIRMATION, Plan
from velodrome.scheduler.reports.impossible_values import drop_impossible_values
from velodrome.scheduler.reports.task_rows import select_last_attempts, select_unexpected
from velodrome.scheduler.results.detail_rows import node_rows
from velodrome.scheduler.results.schema import WITHOUT_CHECKS
from velodrome.scheduler.results.store import Store, new_sweep_id
from velodrome.scheduler.results.typed_rows import CellKey, TaskRow, task_rows
from velodrome.scheduler.site.pages import LatestRunSummary, replace_file
from velodrome.scheduler.sweeps.sweep import Sweep
from velodrome.scheduler.sweeps.sweep_file import load_sweep

FIRST_SHARE = 0.85  # of the budget; the rest is for measuring again
JUNIT, SUMMARY = "junit.xml", "summary.txt"


@dataclass(frozen=True)
class NightlyOptions:
    """Options of `nightly`, as the user typed them. junit: a second place for this file."""

    results: str | Path
    only: str
    budget: str
    site: Path
    junit: Path | None


def nightly(path: Path, typed: NightlyOptions, target: Target, *, as_json: bool) -> int:
    """Measure and judge a sweep; all files are written whatever the result.

    Exit status: 1 if a regression is confirmed, INCOMPLETE if less was measured than the sweep
    promises, else 0.
    """
    try:
        return _nightly(path, typed, target, as_json=as_json)
    except StoreError as error:
        raise NightlyRunFailed(str(error)) from error


def _nightly(path: Path, typed: NightlyOptions, target: Target, *, as_json: bool) -> int:
    started_at, started_s = datetime.now(UTC), time.monotonic()
    store, sweep, sweep_id = Store(typed.results), load_sweep(path), new_sweep_id()
    if not parse_sweep_name(sweep.text):
        mend = "Add one, such as `name: nightly`."
        raise ConfigError(sweep.source, "it has no name, which its history needs", mend)
    screen = Console(stderr=True, highlight=False) if as_json else console()
    planner = NightlyPlanner(
        store, sweep, sweep_id, partial(print_line, screen), parse_budget(typed.budget)
    )
    onward = resume_command(sweep_id, typed.results, target, typed.only)
    execute_run(prepare_run(store, sweep_id, sweep, typed.only, onward, planner), target, screen)

    reader = store.reader()
    history = read_history(reader, sweep.name)
    verdict = judge(history, sweep_id)
    rows, run_ids = _rows(reader, sweep_id), list_run_ids(reader, sweep.name)
    run = NightlyRun(
        name=sweep.name,
        verdict=verdict,
        false_alarms=estimate_false_alarms(verdict),
        explanations=_explain(reader, verdict),
        number=len(run_ids),
        started_at=started_at,
        seconds=time.monotonic() - started_s,
        repeats=len(rows),
        unexpected=len(select_unexpected(rows)),
        budget_s=planner.budget_s,
        left_out=planner.count_left_out(rows),
        measured=sum(map(missing_cells.has_time, missing_cells.select_planned(rows))),
        unmeasured=missing_cells.find_unmeasured(rows),
        vanished=missing_cells.find_vanished(history, sweep_id, rows, planner.promised),
    )
    run = replace(run, unreadable=tuple(map(str, reader.faults)))
    lines = format_summary(run)
    _write(reader, run, history, lines, typed)
    if as_json:
        print_json(list_findings(run))
    else:
        print_lines(*lines, *_next(run, typed, run_ids[1:]))
    return run.exit_status


class NightlyRunFailed(VelodromeError):
    """Results could not be stored or read: it is unknown if there is a regression."""

    exit_status = INCOMPLETE


class NightlyPlanner(RunPlanner):
    """Measures suspicious cells a second time after the plan."""

    def __init__(
        self,
        store: Store,
        sweep: Sweep,
        sweep_id: str,
        say: Callable[[str], None],
        budget_s: float = math.inf,
    ) -> None:
        super().__init__(store, sweep.name, say, budget_s, FIRST_SHARE)
        self.budget_s = budget_s
        self._sweep, self._sweep_id = sweep, sweep_id
        self._planned = 0
        self.promised = missing_cells.PromisedCells((), sweep.where, budget_s)

    def select(self, plan: Plan) -> Plan:
        self._planned = len(plan.placements)
        cells = {CellKey.of(placement.task) for placement in plan.placements}
        cells |= {CellKey.of(unplaceable.task) for unplaceable in plan.unplaceable}
        self.promised = replace(self.promised, cells=cells)
        return super().select(plan)

    def plan_extra(self, plan: Plan) -> Plan:
        verdict = judge(read_history(self._store.reader(), self._name), self._sweep_id)
        if verdict.unconfirmed:
            cells = format_count(len(verdict.unconfirmed), "suspicious cell")
            self._say(f"measuring {cells} again")
        return plan_confirmation(plan, verdict.unconfirmed, self._sweep.repeats)

    def count_left_out(self, rows: Sequence[TaskRow]) -> int:
        """Count repeats of the whole plan that have no row."""
        planned = [row for row in rows if row.node_id and row.repeat < FIRST_CONFIRMATION]
        return max(0, self._planned - len(planned))


def list_findings(run: NightlyRun) -> list[dict[str, object]]:
    """List findings, then cells without a number, as rows for `--json`."""
    rows = []
    for verdict in run.verdict.cells:
        explanation = run.explanations.get(verdict.cell)
        for finding in verdict.findings:
            row = _make_row(verdict.cell, finding.kind.value, finding.since.sweep_id)
            row |= {
                "phase": finding.phase or None,
                "ratio": finding.ratio,
                "ratio_again": finding.ratio_again,
                "confirmation": finding.confirmation.value,
                "alarm": verdict.is_alarm,
                "quarantined": verdict.quarantine is not None,
                "reason": finding.reason or None,
            }
            if explanation:
                row["attribution"] = explanation.attribution.cause.value
                row["causes"] = list(explanation.causes)
            rows.append(row)
    for cell in run.unmeasured:
        reason = f"{cell.status}: {cell.reason}"
        rows.append(_make_row(cell.cell, "no number", run.sweep_id) | {"reason": reason})
    for gone in run.vanished:
        rows.append(_make_row(gone.cell, "vanished", run.sweep_id) | {"reason": gone.reason})
    return rows


def _make_row(cell: NodeCell, finding: str, since: str) -> dict[str, object]:
    place = {name: getattr(cell, name) for name in ("gpu_uuids", "node_id", "hostname")}
    return {
        **cell.key._asdict(),
        **place,
        "finding": finding,
        **dict.fromkeys(("phase", "ratio", "ratio_again")),
        "since": since,
        "confirmation": None,
        "alarm": False,
        "quarantined": False,
        "attribution": None,
        "causes": [],
        "reason": None,
    }


def _rows(store: Store, sweep_id: str) -> list[TaskRow]:
    return select_last_attempts(
        task_rows(drop_impossible_values(store.read("tasks", sweep_id, WITHOUT_CHECKS)))
    )


def _explain(store: Store, verdict: RunVerdict) -> dict[NodeCell, explanations.Explanation]:
    needed = explanations.list_needed_sweeps(verdict)
    rows = [row for sweep_id in needed for row in _rows(store, sweep_id)]
    nodes = [row for sweep_id in needed for row in node_rows(store.read("nodes", sweep_id))]
    cells = explanations.group_by_cell(rows)
    return explanations.explain_findings(verdict, cells, index_nodes(nodes))


def _write(
    store: Store, run: NightlyRun, history: History, lines: tuple[str, ...], typed: NightlyOptions
) -> None:
    report = f"{REPORTS}/{run.sweep_id}.html"
    xml = format_junit(run)
    besides = {
        JUNIT: xml,
        SUMMARY: "".join(f"{line}\n" for line in lines),
        report: _report(store, run.sweep_id, typed.results),
    }
    links = (("the whole report", report), ("as JUnit XML", JUNIT))
    write_site(typed.site, run.name, history, LatestRunSummary(lines, links), besides)
    if typed.junit is not None:
        try:
            replace_file(typed.junit, xml)
        except OSError as error:
            reason = f"cannot be written ({error.strerror or error})"
            raise ConfigError(str(typed.junit), reason, "Name another with --junit.") from None


def _report(store: Store, sweep_id: str, results: str | Path) -> str:
    from velodrome.scheduler.commands.report_page import render_page
    from velodrome.scheduler.reports.html.page_data import read_task_rows

    return render_page(store, sweep_id, results, read_task_rows(store, sweep_id))


def _next(run: NightlyRun, typed: NightlyOptions, earlier: Sequence[str]) -> tuple[str, ...]:
    words = ("compare", earlier[0], run.sweep_id) if earlier else ("report",)
    return (
        f"wrote sweep {run.sweep_id} to {typed.results}; {typed.site}/index.html, "
        f"{REPORTS}/{run.sweep_id}.html, {JUNIT}, {SUMMARY}",
        f"next: {format_command(*words, '--results', typed.results)}",
    )
