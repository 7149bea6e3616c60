"""Rows of cells that were measured several times, as the store holds them."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from made_rows import typed, values

from velodrome.adapters.protocol import Timed
from velodrome.agents.measurement import Measurement, Status
from velodrome.agents.task import Task
from velodrome.scheduler.comparison.replication_units import PHASES
from velodrome.scheduler.results.task_row import task_row
from velodrome.scheduler.results.typed_rows import TaskRow

LENET = {"framework": "torch", "variant": "eager", "model": "lenet", "batch_size": 64}
EARLIER = tuple(f"202611{day:02}-010203-0000000{day}" for day in range(1, 8))
NIGHTLY = (1.0, 1.002, 0.999, 1.001, 0.998, 1.002, 1.0)  # of one sweep to the next
JITTER = (1.0, 1.004, 0.996, 1.002, 0.998)  # of one process to the next
TASK = ("framework", "variant", "model", "batch_size", "device", "threads", "dtype", "seed")


@pytest.fixture(scope="session")
def cell() -> Callable[..., list[TaskRow]]:
    return _rows


@pytest.fixture(scope="session")
def measured() -> Callable[..., list[Measurement]]:
    return _measured


@pytest.fixture(scope="session")
def earlier() -> Callable[..., list[TaskRow]]:
    return _earlier


def _earlier(rows: Sequence[TaskRow], nights: Sequence[float] = NIGHTLY) -> list[TaskRow]:
    """Seven earlier sweeps of what is on a side, each off by a little."""
    times = [f"{phase}_{name}_ns" for phase in PHASES for name in ("low", "median", "high")]
    return typed(
        values(row)
        | {"sweep_id": sweep}
        | {name: night * (row.number(name) or 0) for name in there}
        for sweep, night in zip(EARLIER, nights, strict=False)
        for row in rows
        for there in [[name for name in times if row.number(name)]]
    )


def _rows(
    sweep: str = "20261123-010203-00000001",
    ms: float = 10.0,
    repeats: int = 5,
    jitter: Sequence[float] = JITTER,
    **columns: object,
) -> list[TaskRow]:
    """Repeats of one cell of torch on lenet. columns: what is otherwise."""
    asked = {name: columns[name] for name in TASK if name in columns}
    found = _measured(ms, jitter, repeats, **asked)
    return typed(task_row(sweep, one) | columns for one in found)


def _measured(
    ms: float, jitter: Sequence[float] = (), repeats: int = 5, **changes: Any
) -> list[Measurement]:
    """A gradient of ms, a forward of a third of that, each repeat off by a jitter."""
    asked = {name: changes.pop(name) for name in TASK if name in changes}
    task = Task(**{**LENET, **asked})
    luck = jitter or JITTER
    return [
        replace(_measurement(task, repeat, ms * luck[repeat % len(luck)]), **changes)
        for repeat in range(repeats)
    ]


def _measurement(task: Task, repeat: int, ms: float) -> Measurement:
    gradient = Timed(
        "gradient", ms * 1e6, ms * 0.995e6, ms * 1.005e6, 30, 2, 5, "target", stable=True
    )
    forward = Timed("forward", ms * 3e5, ms * 2.98e5, ms * 3.02e5, 30, 2, 5, "target", stable=True)
    return Measurement(
        task,
        repeat=repeat,
        attempt=1,
        status=Status.OK,
        reason="",
        node_id="n1",
        hostname="host1",
        node_type="t1",
        started_at=1.0,
        finished_at=2.0,
        cpu_model="Some CPU",
        framework_version="2.12.1",
        environment_hash="e1",
        interference_free=True,
        forward=forward,
        gradient=gradient,
    )
