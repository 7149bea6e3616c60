"""The series of nightly results of each cell, from the rows of many sweeps. Pure.

Each node has its own history of a cell. A changed version or driver does not start a new series: a
slow-down by it is a finding. The level of a run is the median over its repeats; repeats from
FIRST_CONFIRMATION on were measured again to confirm a suspected step.
"""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Self

from velodrome.adapters.protocol import TRAINING_PHASES
from velodrome.agents.measurement import Status
from velodrome.agents.phases import BY_IMPORTANCE
from velodrome.agents.task import batch_size_name, device_name, place_name
from velodrome.scheduler.disambiguation import make_distinct
from velodrome.scheduler.plans.placement import FIRST_CONFIRMATION
from velodrome.scheduler.reports.task_rows import (
    is_unexpected,
    measure_duration_s,
    select_last_attempts,
)
from velodrome.scheduler.results.typed_rows import CellKey, TaskRow

NEVER = datetime.min.replace(tzinfo=UTC)  # for a run whose rows have no start
COLUMNS = (
    "sweep_id",
    "task_id",
    "repeat",
    "attempt",
    "status",
    "reason",
    "unexpected",
    "interference_free",
    *CellKey._fields,
    "framework_version",
    "node_id",
    "hostname",
    "gpu_uuids",
    "started_at",
    "finished_at",
    "waited_ns",
    "optimizer",
    *(f"{phase}_{bound}_ns" for phase in BY_IMPORTANCE for bound in ("median", "low", "high")),
)


@dataclass(frozen=True, order=True)
class NodeCell:
    """A cell on one node. gpu_uuids: its GPUs."""

    key: CellKey
    node_id: str
    gpu_uuids: tuple[str, ...] = ()
    hostname: str = field(default="", compare=False)

    @classmethod
    def of(cls, row: TaskRow) -> Self:
        """Return the cell of a row. Rows of earlier versions have no number of requested GPUs."""
        gpus = (row.gpu_count or len(row.own_gpus) or 1) if row.device == "gpu" else 0
        key = CellKey.of(row)._replace(gpu_count=gpus)
        return cls(key, row.node_id, row.own_gpus, row.hostname)

    @property
    def device_name(self) -> str:
        return device_name(self.key.device, self.key.devices, self.key.gpu_model, self.key.nodes)

    @property
    def label(self) -> str:
        """The cell's name as in progress lines, with its node."""
        key = self.key
        size = batch_size_name(key.batch_size, key.batch_size_rule)
        what = f"{key.framework}[{key.variant}] {key.model} {size}"
        place = place_name(self.device_name, key.threads, key.dtype)
        each = " per example" if key.batch_size_rule else ""
        return f"{what} {place} on {self.hostname or self.node_id}{each}"


def label_cells(cells: Iterable[NodeCell]) -> dict[NodeCell, str]:
    """Name cells; equal labels get the fields that differ."""
    each = tuple(dict.fromkeys(cells))
    fields = {
        cell: {
            "node": cell.node_id,
            "GPU": " and ".join(cell.gpu_uuids),
            "type": cell.key.dtype,
            "processes": str(cell.key.processes),
        }
        for cell in each
    }
    return make_distinct({cell: cell.label for cell in each}, fields)


class Condition(StrEnum):
    """The quality of one run of a cell."""

    GOOD = "good"
    UNSTABLE = "unstable"  # more than half of its repeats
    FAILED = "failed"  # no number, although one is expected


@dataclass(frozen=True)
class Point:
    """The results of a cell in one run. Logarithms of ns per call, by phase.

    levels: over all repeats. initial: without confirming repeats, confirming: of those alone.
    repeats: their number. failed_twice: the confirming repeats have no number either. width: half
    the span of all repeats' intervals, relative; None without a number. seconds: of all repeats
    together. errors: by phase, the standard deviation of an unstable run's level. has_interference:
    during more than half of its repeats.
    """

    sweep_id: str
    started_at: datetime
    condition: Condition
    levels: Mapping[str, float]
    initial: Mapping[str, float]
    confirming: Mapping[str, float]
    repeats: int
    reason: str = ""
    failed_twice: bool = False
    width: float | None = None
    seconds: float = 0.0
    errors: Mapping[str, float] = field(default_factory=dict)
    has_interference: bool = False

    @property
    def was_remeasured(self) -> bool:
        """True if it was measured again."""
        return bool(self.confirming) or self.failed_twice


History = Mapping[NodeCell, tuple[Point, ...]]


def build_history(rows: Iterable[TaskRow]) -> History:
    """Build the series. Cells that never had a number, as expected, are left out."""
    runs: dict[NodeCell, dict[str, list[TaskRow]]] = {}
    for row in rows:
        if row.node_id:
            runs.setdefault(NodeCell.of(row), {}).setdefault(row.sweep_id, []).append(row)
    return {
        cell: points
        for cell, by_sweep in sorted(runs.items())
        if (points := _summarize_runs(by_sweep))
    }


def _summarize_runs(by_sweep: Mapping[str, Sequence[TaskRow]]) -> tuple[Point, ...]:
    optimizer = _find_newest_optimizer(by_sweep)
    points = [point for rows in by_sweep.values() if (point := summarize_run(rows, optimizer))]
    return tuple(sorted(points, key=lambda point: (point.started_at, point.sweep_id)))


def _find_newest_optimizer(by_sweep: Mapping[str, Sequence[TaskRow]]) -> str:
    """Return the optimizer of the newest sweep that has one; empty without any."""
    for _, rows in sorted(by_sweep.items(), reverse=True):
        for row in rows:
            if row.optimizer:
                return row.optimizer
    return ""


def summarize_run(rows: Sequence[TaskRow], optimizer: str = "") -> Point | None:
    """Summarize one cell's rows of one run; None if it has no number and needs none.

    optimizer: times of update and step with another do not count; empty: all do.
    """
    rows = select_last_attempts(rows)
    initial = [row for row in rows if row.repeat < FIRST_CONFIRMATION]
    confirming = [row for row in rows if row.repeat >= FIRST_CONFIRMATION]
    numbered = [row for row in rows if row.has_number]
    failed = [row for row in rows if not row.has_number and is_unexpected(row)]
    if not numbered and not failed:
        return None
    started = [row.started_at for row in rows if row.started_at is not None]
    condition = _judge_condition(numbered, failed)
    return Point(
        sweep_id=rows[0].sweep_id,
        started_at=min(started, default=NEVER),
        condition=condition,
        levels=_compute_levels(rows, optimizer),
        initial=_compute_levels(initial, optimizer),
        confirming=_compute_levels(confirming, optimizer),
        repeats=len(rows),
        reason=failed[0].reason if failed else "",
        failed_twice=bool(confirming) and not any(row.has_number for row in confirming),
        width=_compute_width(numbered, optimizer),
        seconds=sum(measure_duration_s(row) or 0.0 for row in rows),
        errors=_estimate_errors(numbered, optimizer) if condition is Condition.UNSTABLE else {},
        has_interference=2 * sum(row.interference_free is False for row in rows) > len(rows),
    )


def _judge_condition(numbered: Sequence[TaskRow], failed: Sequence[TaskRow]) -> Condition:
    if len(failed) > len(numbered):
        return Condition.FAILED
    unstable = sum(row.status == Status.UNSTABLE for row in numbered)
    return Condition.UNSTABLE if 2 * unstable > len(numbered) else Condition.GOOD


def _compute_width(rows: Sequence[TaskRow], optimizer: str) -> float | None:
    widths = (
        _compute_phase_width(_select(rows, phase, optimizer), phase) for phase in BY_IMPORTANCE
    )
    return next((width for width in widths if width is not None), None)


def _compute_phase_width(rows: Sequence[TaskRow], phase: str) -> float | None:
    bounds = [[_read_ns(row, phase, bound) for bound in ("low", "median", "high")] for row in rows]
    complete = [each for each in bounds if all(each)]
    if not complete:
        return None
    lows, medians, highs = zip(*complete, strict=True)
    return float((max(highs) - min(lows)) / 2 / statistics.median(medians))


def _estimate_errors(rows: Sequence[TaskRow], optimizer: str) -> dict[str, float]:
    """Estimate standard deviations: a 95 % interval is nearly four of them wide."""
    widths = {
        phase: _compute_phase_width(_select(rows, phase, optimizer), phase)
        for phase in BY_IMPORTANCE
    }
    return {phase: width / 1.96 for phase, width in widths.items() if width is not None}


def _compute_levels(rows: Sequence[TaskRow], optimizer: str) -> dict[str, float]:
    numbered = [row for row in rows if row.has_number]
    times = {
        phase: [ns for row in _select(numbered, phase, optimizer) if (ns := _read_ns(row, phase))]
        for phase in BY_IMPORTANCE
    }
    return {phase: math.log(statistics.median(ns)) for phase, ns in times.items() if ns}


def _select(rows: Sequence[TaskRow], phase: str, optimizer: str) -> Sequence[TaskRow]:
    """Select the rows whose time of a phase counts: with this optimizer, where it uses one."""
    if phase not in TRAINING_PHASES or not optimizer:
        return rows
    return [row for row in rows if row.optimizer == optimizer]


def _read_ns(row: TaskRow, phase: str, bound: str = "median") -> float:
    """Return a bound of a phase's time in ns; 0 if it is no possible time.

    Per example where the node finds the batch size: one series has several sizes.
    """
    ns = row.ns(phase, bound)
    if ns is not None and row.batch_size_rule:
        ns /= max(1, row.batch_size)
    return ns if ns is not None and 0 < ns < math.inf else 0.0
