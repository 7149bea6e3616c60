"""Nights made up of real processes: what each took was measured once, and is dealt out anew."""

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
from velodrome.scheduler.history.cell_series import History, NodeCell, Point, history
from velodrome.scheduler.history.latest_run import RunVerdict, judge
from velodrome.scheduler.plans.placement import CONFIRMING, Plan
from velodrome.scheduler.results.store import Store
from velodrome.scheduler.results.task_row import task_row

REPEATS = 5
CALM_SPREAD = 0.015  # of processes, relative, on a machine that is left alone
UNSURE = 0.1  # half of the interval of an unstable row, relative
FIRST_NIGHT = datetime(2026, 1, 1, 2, tzinfo=UTC)

Times = tuple[float, float]  # forward and gradient, ns
Change = Callable[[str, int], float]  # of a cell and a night: a factor on its times
Claim = Callable[[str, int], bool]  # of a cell and a night


def processes() -> dict[str, list[Times]]:
    """By cell, what each took: CPU time per call, in fresh processes, on two cores under load.

    By record_processes.py. Their spread is some 15 %, skewed, with outliers: nights that no
    detector likes.
    """
    found: dict[str, list[Times]] = {}
    with (Path(__file__).parent / "processes.csv").open() as lines:
        for row in csv.DictReader(lines):
            times = (float(row["forward_ns"]), float(row["gradient_ns"]))
            found.setdefault(f"{row['framework']} my-{row['model']}", []).append(times)
    return found


def calmed(cells: Mapping[str, Sequence[Times]], spread: float) -> dict[str, list[Times]]:
    """The same processes, each as many standard deviations off as it was, on a calmer machine."""
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
        found[f"{phase}_low_ns"], found[f"{phase}_high_ns"] = (1 - UNSURE) * ns, (1 + UNSURE) * ns
    return found


def sweep_id(night: int) -> str:
    return f"{FIRST_NIGHT + timedelta(days=night):%Y%m%d-%H%M%S}-{night:08x}"


def timed(phase: str, median_ns: float) -> Timed:
    low_ns, high_ns = 0.99 * median_ns, 1.01 * median_ns
    return Timed(phase, median_ns, low_ns, high_ns, 20, 1, 3, "target", stable=True)


@dataclass
class Nights:
    """A fleet of one node on which the same cells are measured night by night.

    unstable: its times are told with intervals of UNSURE. disturbed: others ran beside it.
    """

    cells: Mapping[str, Sequence[Times]]
    seed: int = 0
    change: Change = lambda cell, night: 1.0
    repeats: int = REPEATS
    hostname: str = "host1"
    canary: Change | None = None
    unstable: Claim = lambda cell, night: False
    disturbed: Claim = lambda cell, night: False
    rows: list[dict[str, object]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._draw = random.Random(self.seed)
        self._made: dict[tuple[str, str], dict[str, object]] = {}
        self._gathered: dict[object, tuple[int, History]] = {}

    def measured(
        self, night: int, cells: Sequence[str] = (), *, first: int = 0
    ) -> list[dict[str, object]]:
        """Rows of `tasks`: of every cell its repeats, numbered from `first`."""
        return [
            self.row(cell, night, first + repeat, self.change(cell, night))
            for cell in cells or self.cells
            for repeat in range(self.repeats)
        ]

    def row(self, cell: str, night: int, repeat: int, factor: float) -> dict[str, object]:
        """One is made as the store makes it; the rest differ from it by what they took and when."""
        forward, gradient = self._draw.choice(self.cells[cell])
        which = (cell, self.hostname)
        if which not in self._made:
            self._made[which] = task_row("", self.measurement(cell, night, 0, forward, gradient))
        return {
            **self._made[which],
            "sweep_id": sweep_id(night),
            "repeat": repeat,
            "started_at": FIRST_NIGHT + timedelta(days=night),
            "forward_median_ns": forward * factor,
            "gradient_median_ns": gradient * factor,
            "interference_free": not self.disturbed(cell, night),
            **(self._canaries(cell, night) if self.canary else {}),
            **(
                _unstable(forward * factor, gradient * factor) if self.unstable(cell, night) else {}
            ),
        }

    def _canaries(self, cell: str, night: int) -> dict[str, object]:
        """Before and after a task, as steady as a tiny model is."""
        before, after = (1e5 * math.exp(self._draw.gauss(0, 0.01)) for _ in range(2))
        factor = self.canary(cell, night)
        times = {"canary_before_ns": before * factor, "canary_after_ns": after * factor}
        return {"canary_model": "autoencoder numpy 2", **times}

    def measurement(
        self, cell: str, night: int, repeat: int, forward: float, gradient: float
    ) -> Measurement:
        framework, model = cell.split(" ")  # none of the zoo: what one asks for is slow to tell
        at = (FIRST_NIGHT + timedelta(days=night)).timestamp()
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

    def pass_by(self, *nights: int) -> "Nights":
        """Measure every cell on these nights."""
        for night in nights:
            self.rows += self.measured(night)
        return self

    def fail(self, cell: str, night: int, *, first: int = 0) -> None:
        """Instead of what it took on that night; or besides, where `first` is that of others."""
        framework = cell.split(" ")[0]
        failed = {
            "status": "crashed",
            "reason": "died of signal 11",
            "unexpected": True,
            "forward_median_ns": None,
            "gradient_median_ns": None,
        }
        there = [(row["sweep_id"], row["framework"]) for row in self.rows]
        self.rows = [
            row
            for row, which in zip(self.rows, there, strict=True)
            if first or which != (sweep_id(night), framework)
        ]
        self.rows += [row | failed for row in self.measured(night, [cell], first=first)]

    def put(self, store: Store, night: int, text: str) -> None:
        """The whole night, as a sweep of this text."""
        name = sweep_id(night)
        with store.hold_sweep(name):
            store.begin(name, text, Plan())
            for cell in self.cells:
                for repeat in range(self.repeats):
                    forward, gradient = self._draw.choice(self.cells[cell])
                    times = [self.change(cell, night) * ns for ns in (forward, gradient)]
                    store.put(name, self.measurement(cell, night, repeat, *times))

    def number(self, point: Point) -> int:
        return int(point.sweep_id.split("-")[2], 16)

    def judged(self, night: int) -> RunVerdict:
        return judge(self.history(), sweep_id(night))

    def history(self) -> History:
        """As of all rows, but each night is gathered once: tests judge hundreds in turn."""
        by_night: dict[object, list[dict[str, object]]] = {}
        for row in self.rows:
            by_night.setdefault(row["sweep_id"], []).append(row)
        found: dict[NodeCell, tuple[Point, ...]] = {}
        for name, rows in by_night.items():
            if len(rows) != self._gathered.get(name, (0, {}))[0]:
                self._gathered[name] = (len(rows), history(typed(rows)))
            for cell, points in self._gathered[name][1].items():
                found[cell] = found.get(cell, ()) + points
        return found

    def night_of_ours(self, night: int) -> RunVerdict:
        """As `velodrome nightly` does: what is suspicious is measured again, then judged."""
        verdict = self.judged(night)
        if not verdict.open:
            return verdict
        again = [f"{one.cell.key.framework} {one.cell.key.model}" for one in verdict.open]
        self.rows += self.measured(night, again, first=CONFIRMING)
        return self.judged(night)


@pytest.fixture(scope="session")
def real() -> dict[str, list[Times]]:
    return processes()


@pytest.fixture(scope="session")
def calm(real: dict[str, list[Times]]) -> dict[str, list[Times]]:
    return calmed(real, CALM_SPREAD)


@pytest.fixture
def nights(calm: dict[str, list[Times]]) -> Callable[..., Nights]:
    def of(seed: int = 0, change: Change = lambda cell, night: 1.0, cells=calm, **others) -> Nights:
        return Nights(cells, seed, change, **others)

    return of
