"""Simulated nightly runs of the cells of one node, from recorded processes."""

import csv
import math
import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

from velodrome.scheduler.history.cell_series import Condition, NodeCell, Point
from velodrome.scheduler.history.latest_run import RunVerdict, judge
from velodrome.scheduler.results.typed_rows import CellKey

PROCESSES = Path(__file__).parents[1] / "tests" / "scheduler" / "history" / "processes.csv"
FIRST = datetime(2026, 1, 1, 2)
REPEATS = 5
CALM = 0.015  # relative spread of processes on a machine without interference
RUNS = 220
CHANGED = "torch lstm"

PHASES = ("gradient", "forward")
Logs = list[tuple[float, ...]]  # logarithms of ns by PHASES, one entry per process
Effect = Callable[[str, int], float]  # of a cell and a run, added to the logarithm of its times


def read_recorded() -> dict[str, Logs]:
    found: dict[str, Logs] = {}
    with PROCESSES.open() as lines:
        for row in csv.DictReader(lines):
            logs = tuple(math.log(float(row[f"{phase}_ns"])) for phase in PHASES)
            found.setdefault(f"{row['framework']} {row['model']}", []).append(logs)
    return found


def calm_down(cells: dict[str, Logs]) -> dict[str, Logs]:
    """Scale the spread of each cell to CALM; a process stays as many deviations from the mean."""
    return {
        cell: list(zip(*map(_calm_down, zip(*logs, strict=True)), strict=True))
        for cell, logs in cells.items()
    }


def _calm_down(logs: Sequence[float]) -> list[float]:
    middle, spread = statistics.fmean(logs), statistics.stdev(logs)
    return [middle + (log - middle) * CALM / spread for log in logs]


@dataclass
class Fleet:
    """Cells of one node, measured run by run. error: standard deviation in an unstable run."""

    cells: dict[str, Logs]
    effect: Effect
    draw: random.Random
    condition: Callable[[str, int], Condition] = lambda cell, run: Condition.GOOD
    error: float = 0.05
    runs: dict[NodeCell, tuple[Point, ...]] = field(default_factory=dict)

    def measure(self, number: int) -> RunVerdict:
        """Measure and judge all cells; measure the suspicious ones again and judge once more."""
        for cell in self.cells:
            key = _make_cell(cell)
            self.runs[key] = (*self.runs.get(key, ()), self._simulate(cell, number))
        verdict = judge(self.runs, str(number))
        for one in verdict.unconfirmed:
            *earlier, latest = self.runs[one.cell]
            self.runs[one.cell] = (*earlier, self._measure_again(latest, one.cell, number))
        return judge(self.runs, str(number)) if verdict.unconfirmed else verdict

    def _simulate(self, cell: str, number: int) -> Point:
        levels, condition = self._draw_levels(cell, number), self.condition(cell, number)
        errors = dict.fromkeys(PHASES, self.error) if condition is Condition.UNSTABLE else {}
        at = FIRST + timedelta(days=number)
        return Point(str(number), at, condition, levels, levels, {}, REPEATS, errors=errors)

    def _measure_again(self, point: Point, key: NodeCell, number: int) -> Point:
        again = self._draw_levels(f"{key.key.framework} {key.key.model}", number)
        both = {phase: (point.initial[phase] + again[phase]) / 2 for phase in again}
        return replace(point, confirming=again, levels=both, repeats=2 * REPEATS)

    def _draw_levels(self, cell: str, number: int) -> dict[str, float]:
        processes = self.draw.choices(self.cells[cell], k=REPEATS)
        moved = self.effect(cell, number)
        medians = map(statistics.median, zip(*processes, strict=True))
        return {phase: log + moved for phase, log in zip(PHASES, medians, strict=True)}


def _make_cell(cell: str) -> NodeCell:
    framework, model = cell.split(" ")
    key = CellKey(framework, "eager", model, 8, "cpu", 1, "float32", 0, "")
    return NodeCell(key, "host1")


def make_correlated(cells: Sequence[str], rho: float, effect: float, draw: random.Random) -> Effect:
    """Return a separate AR(1) for each cell, of that standard deviation."""
    found = {}
    for cell in cells:
        value = draw.gauss(0, effect)
        for run in range(RUNS):
            found[cell, run] = value
            value = rho * value + math.sqrt(1 - rho**2) * draw.gauss(0, effect)
    return lambda cell, run: found[cell, run]


def make_common(cells: Sequence[str], rho: float, effect: float, draw: random.Random) -> Effect:
    """Return one AR(1) for all cells of the node."""
    shared = make_correlated(["node"], rho, effect, draw)
    return lambda cell, run: shared("node", run)


def make_walk(cells: Sequence[str], step: float, draw: random.Random) -> Effect:
    """Return a separate random walk for each cell, by such steps."""
    found = {}
    for cell in cells:
        value = 0.0
        for run in range(RUNS):
            found[cell, run] = value
            value += draw.gauss(0, step)
    return lambda cell, run: found[cell, run]


def no_effect(cell: str, run: int) -> float:
    return 0.0


def make_step(size: float, since: int) -> Effect:
    log = math.log1p(size)
    return lambda cell, run: log if cell == CHANGED and run >= since else 0.0


def make_drift(share: float, since: int, runs: int) -> Effect:
    log = math.log1p(share)
    return lambda cell, run: log * min(runs, max(0, run - since)) * (cell == CHANGED)


def unstable_since(since: int) -> Callable[[str, int], Condition]:
    def condition(cell: str, run: int) -> Condition:
        is_bad = cell == CHANGED and run >= since
        return Condition.UNSTABLE if is_bad else Condition.GOOD

    return condition
