"""Command `compare`: two sweeps or selections, cell by cell, with likely causes."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache
from itertools import islice

from velodrome.agents.environments.recipes import did_you_mean
from velodrome.scheduler.commands import incomplete_results
from velodrome.scheduler.commands.output import console, print_json
from velodrome.scheduler.commands.report import Form
from velodrome.scheduler.comparison import comparison_rows, rendering, side_selection, wording
from velodrome.scheduler.comparison.causes import Nodes, index_nodes
from velodrome.scheduler.comparison.outcome import ComparisonOutcome, compare_sides, summarize_side
from velodrome.scheduler.comparison.replication_units import (
    COLUMNS,
    MOST_SWEEPS,
    PastRows,
    group_past_rows,
)
from velodrome.scheduler.comparison.unit_costs import COST_COLUMNS, require_one_currency
from velodrome.scheduler.comparison.verdicts import OutcomeTurn
from velodrome.scheduler.errors import INCOMPLETE, ConfigError
from velodrome.scheduler.reports.cell_work import GridUnit, explain_missing, read_work
from velodrome.scheduler.reports.csv_markdown import to_csv
from velodrome.scheduler.reports.impossible_values import drop_impossible_values
from velodrome.scheduler.results.detail_rows import node_rows
from velodrome.scheduler.results.schema import WITHOUT_CHECKS
from velodrome.scheduler.results.store import Store
from velodrome.scheduler.results.typed_rows import TaskRow, task_rows
from velodrome.scheduler.statistics.ratio_tests import LEAST, Verdict
from velodrome.scheduler.sweeps.quantities import parse_share, read_option

PAST_COLUMNS = tuple(dict.fromkeys((*COLUMNS, *COST_COLUMNS)))
FAILURES = ("slower", "faster", "broke", "vanished")


def compare(
    base: str,
    candidate: str,
    results: str,
    *,
    only: str = "",
    least: str = "",
    form: Form,
    unit: GridUnit = GridUnit.TIME,
) -> ComparisonOutcome:
    """Compare two sides and print the outcome. unit: of the table, or what is compared.

    ConfigError if a side is empty, both are the same, rates are of unequal work, or the compared
    quantity is known of no cell.
    """
    outcome = run_comparison(
        base,
        candidate,
        results,
        only=only,
        least=read_option("--least", least, parse_share, LEAST),
        quantity=GridUnit.TIME if unit.is_of_times else unit,
    )
    if unit.is_rate and unit.is_of_times and not comparison_rows.have_equal_work(outcome.times):
        problem = "the batches of BASE and CANDIDATE differ, and verdicts are on times of a batch"
        raise ConfigError("command line, --unit", problem, "Omit it, or see velodrome recommend.")
    if form is Form.JSON:
        print_json(to_json(outcome))
    elif form is Form.CSV:
        print(to_csv(comparison_rows.build_flat_rows(outcome), comparison_rows.COLUMNS), end="")
    elif form is Form.MARKDOWN:
        print(rendering.render_markdown(outcome, unit), end="")
    else:
        console().print(rendering.render_rich(outcome, unit), crop=False)
    return outcome


def run_comparison(
    base: str,
    candidate: str,
    results: str,
    *,
    only: str,
    least: float,
    quantity: GridUnit = GridUnit.TIME,
) -> ComparisonOutcome:
    """Compare two sides. only: further conditions on both. quantity: that is compared."""
    sides = (
        side_selection.parse_side(f"{base} {only}", "BASE"),
        side_selection.parse_side(f"{candidate} {only}", "CANDIDATE"),
    )
    store = Store.for_reading(results)
    rows_in = cache(lambda sweep_id: _read_rows(store, sweep_id))
    sweep_ids = store.sweep_ids()
    try:
        (base_ids, base_rows), (candidate_ids, candidate_rows) = (
            side_selection.select_rows(side, sweep_ids, rows_in) for side in sides
        )
        used = {*base_ids, *candidate_ids}
        past = _read_past(store, (name for name in sweep_ids if name not in used))
        nodes = _read_nodes(store, used)
    finally:  # missing rows may be the reason for an error above
        incomplete_results.warn_of_faults(store.faults, results)
    base_rows = side_selection.subtract_runs(base_rows, candidate_rows)
    if quantity is GridUnit.COST:
        require_one_currency([*base_rows, *candidate_rows])
    if not base_rows:
        mend = "Name other sweeps, or other conditions, for one of them."
        raise ConfigError("command line", "BASE and CANDIDATE are the same runs", mend)
    outcome = compare_sides(
        (summarize_side(base, base_ids, base_rows), base_rows),
        (summarize_side(candidate, candidate_ids, candidate_rows), candidate_rows),
        nodes,
        subjects=side_selection.find_subjects(*sides),
        least=least,
        past=past,
        quantity=quantity,
    )
    if not outcome.times and quantity is not GridUnit.TIME:
        raise _refuse_quantity([*base_rows, *candidate_rows], quantity)
    return replace(outcome, missing=incomplete_results.describe_missing(store.faults, used))


def exit_status(outcome: ComparisonOutcome, fail_on: Sequence[str]) -> int:
    """Return 1 if any change of `fail_on` happened, else INCOMPLETE if rows are missing, else 0."""
    occurred = {
        "slower": bool(outcome.with_verdict(Verdict.SLOWER)),
        "faster": bool(outcome.with_verdict(Verdict.FASTER)),
        "broke": any(change.turn is OutcomeTurn.BROKE for change in outcome.changes),
        "vanished": bool(outcome.vanished),
    }
    if any(occurred[name] for name in fail_on):
        return 1
    return INCOMPLETE if outcome.missing else 0


def parse_failures(names: Iterable[str]) -> tuple[str, ...]:
    """Parse `--fail-on`: repeated, or with commas between. ConfigError for an unknown name."""
    found = tuple(name.strip() for text in names for name in text.split(","))
    for name in found:
        if name not in FAILURES:
            mend = did_you_mean(name, FAILURES)
            raise ConfigError("command line, --fail-on", f"there is no '{name}'", mend)
    return found


def to_json(outcome: ComparisonOutcome) -> dict[str, object]:
    """Convert an outcome to JSON values; times in ns."""
    return {
        "base": vars(outcome.base),
        "candidate": vars(outcome.candidate),
        "subjects": sorted(outcome.subjects),
        "least": outcome.least,
        "geometric_means": {
            phase: vars(comparison_rows.turn_mean(mean, outcome.quantity))
            for phase, mean in outcome.means.items()
        },
        "causes": [
            {**vars(cause), "realm": cause.realm.name.lower(), "score": cause.score}
            for cause in outcome.causes
        ],
        "unfair": [{**vars(difference), "cells": n} for difference, n in outcome.unfair],
        "is_same": outcome.is_same,
        "missing": outcome.missing,
        "quantity": outcome.quantity.value,
        "better": comparison_rows.name_better(outcome.quantity),
        "sentence": wording.summarize(outcome),
        "cells": comparison_rows.build_flat_rows(outcome),
    }


def _refuse_quantity(rows: Sequence[TaskRow], quantity: GridUnit) -> ConfigError:
    """Build the error for sides without a cell whose energy, cost or MFU both know."""
    reasons = explain_missing([read_work([row]) for row in rows if row.has_number], quantity)
    problem = f"no cell has a known {quantity.value.replace('mfu', 'MFU')} on both sides"
    mend = reasons[0][:1].upper() + reasons[0][1:] + "." if reasons else "See `velodrome report`."
    return ConfigError("command line, --unit", problem, mend)


def _read_rows(store: Store, sweep_id: str) -> Sequence[TaskRow]:
    return task_rows(drop_impossible_values(store.read("tasks", sweep_id, WITHOUT_CHECKS)))


def _read_past(store: Store, sweep_ids: Iterable[str]) -> PastRows:
    """Collect the history of the newest of these sweeps."""
    found: list[TaskRow] = []
    for sweep_id in islice(sweep_ids, MOST_SWEEPS):
        found += task_rows(drop_impossible_values(store.read("tasks", sweep_id, PAST_COLUMNS)))
    return group_past_rows(found)


def _read_nodes(store: Store, sweep_ids: Iterable[str]) -> Nodes:
    return index_nodes(
        row for sweep_id in sweep_ids for row in node_rows(store.read("nodes", sweep_id))
    )
