"""Estimates from earlier nightly runs: durations, and the runs that fit a budget."""

import math
import time
from collections.abc import Callable
from functools import cached_property
from statistics import median

from velodrome.scheduler.history.cell_series import build_history
from velodrome.scheduler.history.history_reading import read_past_rows
from velodrome.scheduler.history.past_durations import PastDurations, learn_durations
from velodrome.scheduler.plans.budget import BudgetedPlan, fit_budget
from velodrome.scheduler.plans.durations import DurationEstimates, format_seconds
from velodrome.scheduler.plans.placement import Plan
from velodrome.scheduler.results.store import Store
from velodrome.scheduler.results.typed_rows import CellKey, TaskRow
from velodrome.scheduler.sweeps import quantities
from velodrome.scheduler.sweeps.quantities import read_option

PAST_RUNS = 20  # that durations come from
LATEST = 5  # runs that a cell's width comes from
SHOWN = 6  # of the cells that are left out


def parse_budget(text: str) -> float:
    """Parse a budget into seconds; infinite if empty. ConfigError if it is not a duration."""
    return read_option("--budget", text, quantities.parse_duration_s, math.inf)


class RunPlanner:
    """Selects what one command runs. Its budget starts when it is made.

    share: of the budget, for the plan itself. say: prints a message.
    """

    def __init__(
        self,
        store: Store,
        name: str,
        say: Callable[[str], None],
        budget_s: float = math.inf,
        share: float = 1.0,
    ) -> None:
        self._store, self._name, self._say = store, name, say
        self._budget_s, self._share = budget_s, share
        self.until_s = time.monotonic() + budget_s
        self._durations: PastDurations | None = None

    @property
    def is_bounded(self) -> bool:
        """Return True if there is a budget, so that part of a plan may be left out."""
        return math.isfinite(self._budget_s)

    def select(self, plan: Plan) -> Plan:
        """Return the part of the plan that fits the budget, and report what is left out."""
        if not self.is_bounded:
            return plan
        left_s = self._share * max(0.0, self.until_s - time.monotonic())
        widths = self._widths
        found = fit_budget(
            plan,
            left_s,
            self._learn_durations(plan).estimate,
            lambda one: widths.get((CellKey.of(one.task), one.node_id)),
        )
        for line in describe_left_out(found, self._budget_s):
            self._say(line)
        return found.plan

    def estimate_durations(self, plan: Plan) -> DurationEstimates:
        return self._learn_durations(plan).estimates

    def plan_extra(self, plan: Plan) -> Plan:
        """Plan further runs after the plan, on nodes that it used."""
        return Plan()

    def _learn_durations(self, plan: Plan) -> PastDurations:
        if self._durations is None:
            self._durations = learn_durations(
                self._rows, dict.fromkeys(one.task for one in plan.placements)
            )
        return self._durations

    @cached_property
    def _rows(self) -> tuple[TaskRow, ...]:
        reader = self._store.reader()
        found = read_past_rows(reader, self._name, PAST_RUNS)
        for fault in reader.faults:
            self._say(f"left out of the history: {fault}")
        return found

    @cached_property
    def _widths(self) -> dict[tuple[CellKey, str], float]:
        """Median half-width of the last runs, by cell and node."""
        found: dict[tuple[CellKey, str], float] = {}
        for cell, points in build_history(self._rows).items():
            known = [one.width for one in points[-LATEST:] if one.width is not None]
            if known:
                found[cell.key, cell.node_id] = median(known)
        return found


def describe_left_out(found: BudgetedPlan, budget_s: float) -> tuple[str, ...]:
    """Describe what a budget leaves out."""
    budget, expected = format_seconds(budget_s), format_seconds(found.seconds)
    if not found.left_out:
        return (f"all runs fit: {expected} of {budget}",)
    runs = sum(skipped.repeats for skipped in found.left_out)
    more = len(found.left_out) - SHOWN
    return (
        f"budget {budget}: {len(found.plan.placements)} runs take {expected}; "
        f"{runs} are left out, those with the narrowest intervals:",
        *(
            f"  {skipped.repeats} of {skipped.task.label} ({format_seconds(skipped.seconds)})"
            for skipped in found.left_out[:SHOWN]
        ),
        *([f"  and {more} more cells"] if more > 0 else []),
    )
