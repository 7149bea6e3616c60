"""Rows of cells that were measured several times, as the store holds them."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from made_measurements import make_measurement, make_times
from made_rows import typed, values

from velodrome.adapters.protocol import TIMED_PHASES
from velodrome.agents.measurement import Measurement
from velodrome.scheduler.results.task_row import task_row
from velodrome.scheduler.results.typed_rows import TaskRow

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
    """Make seven earlier sweeps of one side, each slightly different."""
    times = [f"{phase}_{name}_ns" for phase in TIMED_PHASES for name in ("low", "median", "high")]
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
    """Make repeats of one cell of torch on lenet. columns: other values."""
    of_task = {name: columns[name] for name in TASK if name in columns}
    found = _measured(ms, jitter, repeats, **of_task)
    return typed(task_row(sweep, one) | columns for one in found)


def _measured(
    ms: float, jitter: Sequence[float] = (), repeats: int = 5, **changes: Any
) -> list[Measurement]:
    """Make repeats with a gradient of ms and a forward of a third of that, off by a jitter."""
    same = {
        "cpu_model": "Some CPU",
        "framework_version": "2.12.1",
        "environment_hash": "e1",
        "interference_free": True,
    }
    luck = jitter or JITTER
    times = [ms * luck[repeat % len(luck)] for repeat in range(repeats)]
    return [
        make_measurement(**(same | make_times(0.3 * own, own, 0.005) | {"repeat": at} | changes))
        for at, own in enumerate(times)
    ]
