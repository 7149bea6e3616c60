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
from velodrome.scheduler.commands.trend_site import NIGHTS, write_site
from velodrome.scheduler.comparison.causes import index_nodes
from velodrome.scheduler.errors import INCOMPLETE, ConfigError, StoreError, VelodromeError
from velodrome.scheduler.history.cell_series import History, NodeCell
from velodrome.scheduler.history.false_alarms import false_alarms
from velodrome.scheduler.history.history_reading import name_in, night_ids, read_history
from velodrome.scheduler.history.latest_run import RunVerdict, judge
from velodrome.scheduler.next_commands import format_command
from velodrome.scheduler.nightly.confirmation import again
from velodrome.scheduler.nightly.explanations import (
    Explanation,
    by_cell,
    explanations,
    sweeps_needed,
)
from velodrome.scheduler.nightly.junit import junit
from velodrome.scheduler.nightly.missing_cells import Promise, has_time, lacking, planned, vanished
from velodrome.scheduler.nightly.nightly_result import Night
from velodrome.scheduler.nightly.summary import summary
from velodrome.scheduler.plans.placement import CONFIRMING, Plan
from velodrome.scheduler.reports.impossible_values import drop_impossible_values
from velodrome.scheduler.reports.task_rows import select_last_attempts, select_unexpected
from velodrome.scheduler.results.schema import WITHOUT_CHECKS
from velodrome.scheduler.results.store import Store, new_sweep_id
from velodrome.scheduler.results.typed_rows import CellKey, TaskRow, node_rows, task_rows
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
        raise NightCutShort(str(error)) from error


def _nightly(path: Path, typed: NightlyOptions, target: Target, *, as_json: bool) -> int:
    began, started_s = datetime.now(UTC), time.monotonic()
    store, sweep, sweep_id = Store(typed.results), load_sweep(path), new_sweep_id()
    if not name_in(sweep.text):
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
    rows, nights = _rows(reader, sweep_id), night_ids(reader, sweep.name)
    night = Night(
        name=sweep.name,
        verdict=verdict,
        false_alarms=false_alarms(verdict),
        explanations=_explanations(reader, verdict),
        number=len(nights),
        began=began,
        seconds=time.monotonic() - started_s,
        runs=len(rows),
        surprises=len(select_unexpected(rows)),
        budget_s=planner.budget_s,
        left_out=planner.left_out(rows),
        measured=sum(map(has_time, planned(rows))),
        lacking=lacking(rows),
        vanished=vanished(history, sweep_id, rows, planner.promise),
    )
    night = replace(night, unread=tuple(map(str, reader.faults)))
    lines = summary(night)
    _write(reader, night, history, lines, typed)
    if as_json:
        print_json(findings(night))
    else:
        print_lines(*lines, *_next(night, typed, nights[1:]))
    return night.exit_status


class NightCutShort(VelodromeError):
    """Results could not be stored or read: it is unknown if there is a regression."""

    exit_status = INCOMPLETE


class NightlyPlanner(RunPlanner):
    """Measures cells that look changed a second time after the plan."""

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
        self.promise = Promise((), sweep.where, budget_s)

    def select(self, plan: Plan) -> Plan:
        self._planned = len(plan.placements)
        tasks = [one.task for one in plan.placements] + [one.task for one in plan.unplaceable]
        asked = {CellKey.of(task) for task in tasks}
        self.promise = replace(self.promise, asked=asked)
        return super().select(plan)

    def plan_extra(self, plan: Plan) -> Plan:
        verdict = judge(read_history(self._store.reader(), self._name), self._sweep_id)
        if verdict.open:
            self._say(f"{len(verdict.open)} cells look changed: measuring them again")
        return again(plan, verdict.open, self._sweep.repeats)

    def left_out(self, rows: Sequence[TaskRow]) -> int:
        """Count runs of the whole plan that have no row."""
        planned = [row for row in rows if row.node_id and row.repeat < CONFIRMING]
        return max(0, self._planned - len(planned))


def findings(night: Night) -> list[dict[str, object]]:
    """List the findings as rows for `--json`."""
    return [
        {
            **_describe_cell(one.cell),
            "finding": found.kind.value,
            "phase": found.phase or None,
            "ratio": found.ratio,
            "ratio_again": found.again,
            "since": found.since.sweep_id,
            "proof": found.proof.value,
            "alarm": one.is_alarm,
            "quarantined": one.quarantined is not None,
            "blame": told.attribution.cause.value if told else None,
            "causes": list(told.causes) if told else [],
            "reason": found.reason or None,
        }
        for one in night.verdict.watched
        for found in one.findings
        for told in [night.explanations.get(one.cell)]
    ] + _unmeasured(night)


def _unmeasured(night: Night) -> list[dict[str, object]]:
    """List cells without a number, with the same keys as findings."""
    told = [(one.cell, "no number", f"{one.status}: {one.reason}") for one in night.lacking]
    told += [(one.cell, "vanished", one.why) for one in night.vanished]
    return [
        {
            **_describe_cell(cell),
            "finding": finding,
            **dict.fromkeys(("phase", "ratio", "ratio_again")),
            "since": night.sweep_id,
            "proof": None,
            "alarm": False,
            "quarantined": False,
            "blame": None,
            "causes": [],
            "reason": reason,
        }
        for cell, finding, reason in told
    ]


def _describe_cell(cell: NodeCell) -> dict[str, object]:
    place = {name: getattr(cell, name) for name in ("gpu_uuids", "node_id", "hostname")}
    return cell.key._asdict() | place


def _rows(store: Store, sweep_id: str) -> list[TaskRow]:
    return select_last_attempts(
        task_rows(drop_impossible_values(store.read("tasks", sweep_id, WITHOUT_CHECKS)))
    )


def _explanations(store: Store, verdict: RunVerdict) -> dict[NodeCell, Explanation]:
    needed = sweeps_needed(verdict)
    rows = [row for sweep_id in needed for row in _rows(store, sweep_id)]
    nodes = [row for one in needed for row in node_rows(store.read("nodes", one))]
    return explanations(verdict, by_cell(rows), index_nodes(nodes))


def _write(
    store: Store, night: Night, history: History, lines: tuple[str, ...], typed: NightlyOptions
) -> None:
    report = f"{NIGHTS}/{night.sweep_id}.html"
    xml = junit(night)
    besides = {
        JUNIT: xml,
        SUMMARY: "".join(f"{line}\n" for line in lines),
        report: _report(store, night.sweep_id, typed.results),
    }
    links = (("the whole report", report), ("as JUnit XML", JUNIT))
    write_site(typed.site, night.name, history, LatestRunSummary(lines, links), besides)
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


def _next(night: Night, typed: NightlyOptions, earlier: Sequence[str]) -> tuple[str, ...]:
    asked = ("compare", earlier[0], night.sweep_id) if earlier else ("report",)
    return (
        f"wrote sweep {night.sweep_id} to {typed.results}; {typed.site}/index.html, "
        f"{NIGHTS}/{night.sweep_id}.html, {JUNIT}, {SUMMARY}",
        f"next: {format_command(*asked, '--results', typed.results)}",
    )
