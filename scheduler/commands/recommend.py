"""Command `recommend`: the way of least time, energy or price to compute a model."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Group
from rich.text import Text

from velodrome.agents.environments.recipes import did_you_mean
from velodrome.agents.phases import BY_IMPORTANCE
from velodrome.agents.safe_text import strip_controls
from velodrome.scheduler.commands import incomplete_results
from velodrome.scheduler.commands.output import console, make_table, print_json, print_lines
from velodrome.scheduler.commands.report import Form
from velodrome.scheduler.comparison import recommendation_text
from velodrome.scheduler.comparison.recommendation import (
    Criterion,
    Recommendation,
    recommend,
)
from velodrome.scheduler.comparison.replication_units import select_last_of_sweeps
from velodrome.scheduler.comparison.side_selection import Side, parse_side, select_sweeps
from velodrome.scheduler.errors import ConfigError
from velodrome.scheduler.next_commands import format_command
from velodrome.scheduler.reports.csv_markdown import escape_markdown, to_csv, to_markdown
from velodrome.scheduler.reports.impossible_values import drop_impossible_values
from velodrome.scheduler.results.rate_columns import RATED_PHASES
from velodrome.scheduler.results.schema import WITHOUT_CHECKS
from velodrome.scheduler.results.store import Store
from velodrome.scheduler.results.typed_rows import TaskRow, task_rows

PHASES = tuple(phase for phase in BY_IMPORTANCE if phase in RATED_PHASES)
PLACE = "command line"


def show_recommendation(
    model: str, results: str | Path, *, by: str, phase: str, only: str, form: Form
) -> int:
    """Print the recommendation. ConfigError if nothing of this model was measured."""
    criterion = parse_criterion(by)
    store = Store.for_reading(results)
    try:
        rows = _read_rows(store, model, only)
        found = find_recommendation(rows, criterion, phase)
    finally:  # missing rows may be the reason for an error above
        incomplete_results.warn_of_faults(store.faults, results)
    _print(found, form, results)
    lost = {fault.sweep_id for fault in store.faults}
    return incomplete_results.exit_status(store.faults, lost)


def find_recommendation(
    rows: Sequence[TaskRow], criterion: Criterion, phase: str
) -> Recommendation:
    """Rank the configurations of rows of one model. phase: empty for the first of PHASES
    with a time.

    ConfigError if no row has a cost.
    """
    if phase and phase not in PHASES:
        raise ConfigError(
            f"{PLACE}, --phase", f"there is no phase '{phase}'", f"Give one of {', '.join(PHASES)}."
        )
    found = recommend(rows, criterion, phase or PHASES[0])
    for other in () if phase else PHASES[1:]:
        if not found.ranked:
            instead = recommend(rows, criterion, other)
            found = instead if instead.ranked else found
    if not found.ranked:
        raise _refuse(rows, criterion, found)
    return found


def parse_criterion(text: str) -> Criterion:
    """Parse `--by`. ConfigError for an unknown criterion."""
    if text not in (*Criterion,):
        mend = did_you_mean(text, [criterion.value for criterion in Criterion])
        raise ConfigError(f"{PLACE}, --by", f"there is no '{text}'", mend)
    return Criterion(text)


def _read_rows(store: Store, model: str, only: str) -> list[TaskRow]:
    """Read the last attempts of a model's tasks, as the newest of them defines the model."""
    table = drop_impossible_values(store.read("tasks", None, WITHOUT_CHECKS))
    known = sorted({str(name) for name in pc.unique(table["model"]).to_pylist()})
    if model not in known:
        mend = did_you_mean(model, known) if known else "Measure it first: velodrome measure."
        raise ConfigError(PLACE, f"there is no result of '{model}' in {store.name}", mend)
    table = table.filter(pc.equal(table["model"], pa.scalar(model)))
    rows = select_last_of_sweeps(task_rows(table))
    side = parse_side(only, "--only") if only.strip() else None
    rows = _select(rows, side, store.sweep_ids()) if side else rows
    if not rows:
        raise ConfigError("--only", f"no result of {model} is '{only}'", "Take a condition out.")
    newest = max(rows, key=lambda row: row.sweep_id)
    return [row for row in rows if row.model_hash == newest.model_hash]


def _select(rows: Sequence[TaskRow], side: Side, sweep_ids: Sequence[str]) -> list[TaskRow]:
    chosen = frozenset(select_sweeps(side, sweep_ids) if side.words else sweep_ids)
    return [row for row in rows if row.sweep_id in chosen and side.matches(row)]


def _refuse(rows: Sequence[TaskRow], criterion: Criterion, found: Recommendation) -> ConfigError:
    what = {Criterion.ENERGY: "known energy", Criterion.PRICE: "known price"}.get(
        criterion, f"{found.phase} time"
    )
    if criterion is Criterion.PRICE and all(row.task_price_per_hour is None for row in rows):
        problem = f"no result of {found.model} has a {what}"
        mend = "Give price_per_hour in cluster.yaml, or run with --price, and measure it again."
        return ConfigError(PLACE, problem, mend)
    if found.mixed:
        problem = f"the repeats of each configuration of {found.model} have several prices"
        return ConfigError(PLACE, problem, "Select a sweep with one price: --only.")
    reasons = dict.fromkeys(
        row.energy_reason if criterion is Criterion.ENERGY else row.reason for row in rows
    )
    first = next(filter(None, reasons), "")
    why = f": {first}" if first else ""
    problem = f"no verified result of {found.model} has a {what}{why}"
    return ConfigError(PLACE, problem, "See `velodrome report`.")


def _print(found: Recommendation, form: Form, results: str | Path) -> None:
    flat = recommendation_text.build_flat_rows(found)
    rows, left = recommendation_text.table_rows(found), recommendation_text.count_left(found)
    legend, sentence = recommendation_text.build_legend(found), recommendation_text.summarize(found)
    if form is Form.JSON:
        print_json(flat)
    elif form is Form.CSV:
        print(to_csv(flat), end="")
    elif form is Form.MARKDOWN:
        parts = (to_markdown(rows, left).rstrip(), *map(escape_markdown, (legend, sentence)))
        print("\n\n".join(parts))
    else:
        words = (Text(legend, style="dim"), Text(strip_controls(sentence)))
        console().print(Group(make_table(rows, left), Text(""), *words), crop=False)
        wanted = (found.model, "--by", found.criterion.value, "--phase", found.phase)
        following = format_command("recommend", *wanted, "--results", results, "--markdown")
        print_lines(f"next: {following}")
