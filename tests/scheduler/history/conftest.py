"""Simulated runs: the times of real processes were recorded once and are drawn at random."""

import csv
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import fmean, stdev

import pytest
from made_rows import typed

from velodrome.adapters.protocol import Timed
from velodrome.agents.measurement import Measurement, Status
from velodrome.agents.task import Task
from velodrome.scheduler.history.cell_series import History, NodeCell, Point, build_history
from velodrome.scheduler.history.latest_run import RunVerdict, judge
from velodrome.scheduler.plans.placement import FIRST_CONFIRMATION, Plan
from velodrome.scheduler.results.store import Store
from velodrome.scheduler.results.task_row import task_row

REPEATS = 5
CALM_SPREAD = 0.015  # of processes, relative, on a machine without interference
UNSTABLE_HALF_WIDTH = 0.1  # of the interval of an unstable row, relative
FIRST_RUN = datetime(2026, 1, 1, 2, tzinfo=UTC)

Times = tuple[float, float]  # forward and gradient, ns
Change = Callable[[str, int], float]  # of a cell and a run: a factor on its times
Condition = Callable[[str, int], bool]  # of a cell and a run


def processes() -> dict[str, list[Times]]:
    """Return CPU times per call by cell, of fresh processes, on two cores under load.

    By record_processes.py. Their spread is some 15 %, skewed, with outliers: hard for a detector.
    """
    found: dict[str, list[Times]] = {}
    with (Path(__file__).parent / "processes.csv").open() as lines:
        for row in csv.DictReader(lines):
            times = (float(row["forward_ns"]), float(row["gradient_ns"]))
            found.setdefault(f"{row['framework']} my-{row['model']}", []).append(times)
    return found


def calm_down(cells: Mapping[str, Sequence[Times]], spread: float) -> dict[str, list[Times]]:
    """Scale the spread of processes; each stays as many standard deviations from the mean."""
    found = {}
    for cell, times in cells.items():
        columns = [[math.log(ns) for ns in column] for column in zip(*times, strict=True)]
        shrunk = [
            [math.exp(fmean(logs) + (log - fmean(logs)) * spread / stdev(logs)) for log in logs]
            for logs in columns
        ]
        found[cell] = list(zip(*shrunk, strict=True))
    return found


def _unstable(forward_ns: float, gradient_ns: float) -> dict[str, object]:
    found: dict[str, object] = {"status": "unstable", "reason": "the interval is wide"}
    for phase, ns in (("forward", forward_ns), ("gradient", gradient_ns)):
        found[f"{phase}_low_ns"] = (1 - UNSTABLE_HALF_WIDTH) * ns
        found[f"{phase}_high_ns"] = (1 + UNSTABLE_HALF_WIDTH) * ns
    return found


def sweep_id(run: int) -> str:
    return f"{FIRST_RUN + timedelta(days=run):%Y%m%d-%H%M%S}-{run:08x}"


def timed(phase: str, median_ns: float) -> Timed:
    low_ns, high_ns = 0.99 * median_ns, 1.01 * median_ns
    return Timed(phase, median_ns, low_ns, high_ns, 20, 1, 3, "target", stable=True)


@dataclass
class SimulatedFleet:
    """A node on which the same cells are measured run by run.

    unstable: its times have intervals of UNSTABLE_HALF_WIDTH.
    """

    cells: Mapping[str, Sequence[Times]]
    seed: int = 0
    change: Change = lambda cell, run: 1.0
    repeats: int = REPEATS
    hostname: str = "host1"
    canary: Change | None = None
    unstable: Condition = lambda cell, run: False
    has_interference: Condition = lambda cell, run: False
    rows: list[dict[str, object]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._draw = random.Random(self.seed)
        self._made: dict[tuple[str, str], dict[str, object]] = {}
        self._gathered: dict[object, tuple[int, History]] = {}

    def make_rows(
        self, run: int, cells: Sequence[str] = (), *, first: int = 0
    ) -> list[dict[str, object]]:
        """Make rows of `tasks`: the repeats of every cell, numbered from `first`."""
        return [
            self.row(cell, run, first + repeat, self.change(cell, run))
            for cell in cells or self.cells
            for repeat in range(self.repeats)
        ]

    def row(self, cell: str, run: int, repeat: int, factor: float) -> dict[str, object]:
        """Make a row. Rows of a cell differ from its first, which the store makes, by times."""
        forward, gradient = self._draw.choice(self.cells[cell])
        key = (cell, self.hostname)
        if key not in self._made:
            self._made[key] = task_row("", self.measurement(cell, run, 0, forward, gradient))
        return {
            **self._made[key],
            "sweep_id": sweep_id(run),
            "repeat": repeat,
            "started_at": FIRST_RUN + timedelta(days=run),
            "forward_median_ns": forward * factor,
            "gradient_median_ns": gradient * factor,
            "interference_free": not self.has_interference(cell, run),
            **(self._canaries(cell, run) if self.canary else {}),
            **(_unstable(forward * factor, gradient * factor) if self.unstable(cell, run) else {}),
        }

    def _canaries(self, cell: str, run: int) -> dict[str, object]:
        """Make canaries before and after a task, with the spread of a tiny model."""
        before, after = (1e5 * math.exp(self._draw.gauss(0, 0.01)) for _ in range(2))
        factor = self.canary(cell, run)
        times = {"canary_before_ns": before * factor, "canary_after_ns": after * factor}
        return {"canary_model": "autoencoder numpy 2", **times}

    def measurement(
        self, cell: str, run: int, repeat: int, forward: float, gradient: float
    ) -> Measurement:
        framework, model = cell.split(" ")  # no built-in model: its lookup is slow
        at = (FIRST_RUN + timedelta(days=run)).timestamp()
        return Measurement(
            task=Task(framework, "eager", model, 8),
            repeat=repeat,
            attempt=1,
            status=Status.OK,
            reason="",
            node_id=self.hostname,
            hostname=self.hostname,
            node_type="t1",
            started_at=at,
            finished_at=at + 5,
            forward=timed("forward", forward),
            gradient=timed("gradient", gradient),
        )

    def measure(self, *runs: int) -> "SimulatedFleet":
        """Measure every cell in these runs."""
        for run in runs:
            self.rows += self.make_rows(run)
        return self

    def fail(self, cell: str, run: int, *, first: int = 0) -> None:
        """Replace the times of a cell in a run by failures; with `first`, add failed repeats."""
        framework = cell.split(" ")[0]
        failed = {
            "status": "crashed",
            "reason": "died of signal 11",
            "unexpected": True,
            "forward_median_ns": None,
            "gradient_median_ns": None,
        }
        failing = (sweep_id(run), framework)
        self.rows = [
            row for row in self.rows if first or (row["sweep_id"], row["framework"]) != failing
        ]
        self.rows += [row | failed for row in self.make_rows(run, [cell], first=first)]

    def store_run(self, store: Store, run: int, text: str) -> None:
        """Store a whole run as a sweep of this text."""
        name = sweep_id(run)
        with store.hold_sweep(name):
            store.begin(name, text, Plan())
            for cell in self.cells:
                for repeat in range(self.repeats):
                    forward, gradient = self._draw.choice(self.cells[cell])
                    times = [self.change(cell, run) * ns for ns in (forward, gradient)]
                    store.put(name, self.measurement(cell, run, repeat, *times))

    def run_number(self, point: Point) -> int:
        return int(point.sweep_id.split("-")[2], 16)

    def judge_run(self, run: int) -> RunVerdict:
        return judge(self.history(), sweep_id(run))

    def history(self) -> History:
        """Return the history of all rows. Each run is summarized once: tests judge hundreds."""
        by_run: dict[object, list[dict[str, object]]] = {}
        for row in self.rows:
            by_run.setdefault(row["sweep_id"], []).append(row)
        found: dict[NodeCell, tuple[Point, ...]] = {}
        for name, rows in by_run.items():
            if len(rows) != self._gathered.get(name, (0, {}))[0]:
                self._gathered[name] = (len(rows), build_history(typed(rows)))
            for cell, points in self._gathered[name][1].items():
                found[cell] = found.get(cell, ()) + points
        return found

    def judge_and_confirm(self, run: int) -> RunVerdict:
        """Measure suspicious cells again and judge the run, as `velodrome nightly` does."""
        verdict = self.judge_run(run)
        if not verdict.unconfirmed:
            return verdict
        cells = [one.cell.key for one in verdict.unconfirmed]
        again = [f"{cell.framework} {cell.model}" for cell in cells]
        self.rows += self.make_rows(run, again, first=FIRST_CONFIRMATION)
        return self.judge_run(run)


@pytest.fixture(scope="session")
def real() -> dict[str, list[Times]]:
    return processes()


@pytest.fixture(scope="session")
def calm(real: dict[str, list[Times]]) -> dict[str, list[Times]]:
    return calm_down(real, CALM_SPREAD)


@pytest.fixture
def make_fleet(calm: dict[str, list[Times]]) -> Callable[..., SimulatedFleet]:
    def make(
        seed: int = 0, change: Change = lambda cell, run: 1.0, cells=calm, **others
    ) -> SimulatedFleet:
        return SimulatedFleet(cells, seed, change, **others)

    return make
