"""Variation between the processes of a cell, from earlier sweeps of the store and from canaries."""

from collections.abc import Iterable, Mapping

from velodrome.adapters.protocol import TIMED_PHASES
from velodrome.scheduler.errors import VelodromeError
from velodrome.scheduler.reports.impossible_values import is_time
from velodrome.scheduler.results.sql import run_query
from velodrome.scheduler.results.store import Store
from velodrome.scheduler.results.typed_rows import TaskRow
from velodrome.scheduler.statistics.cell_interval import (
    ProcessVariation,
    estimate_from_canaries,
    estimate_from_sweeps,
)

CellHistory = Mapping[tuple[str, str, str], ProcessVariation]  # by task, node type and phase
CanaryKey = tuple[object, ...]
CanaryVariation = Mapping[CanaryKey, ProcessVariation]

MOST = 50  # sweeps, the newest

# One process of each sweep, so that differences between days count as well.
_TIMES = ", ".join(f"arg_min({phase}_median_ns, repeat) AS {phase}_ns" for phase in TIMED_PHASES)
_QUERY = f"""
SELECT task_id, coalesce(node_type, '') AS node_type, sweep_id, {_TIMES}
FROM tasks
WHERE sweep_id <> '{{sweep}}'
  AND task_id IN (SELECT task_id FROM tasks WHERE sweep_id = '{{sweep}}')
GROUP BY ALL
ORDER BY sweep_id DESC
"""


def read_cell_history(store: Store, sweep_id: str) -> CellHistory:
    """Read the variation of each cell of a sweep that enough other sweeps have.

    Empty if another sweep cannot be read: the report of this one does not depend on it.
    """
    try:
        rows = run_query(store, _QUERY.format(sweep=sweep_id.replace("'", "''"))).to_pylist()
    except VelodromeError:
        return {}
    times: dict[tuple[str, str, str], list[float]] = {}
    for row in rows:
        for phase in TIMED_PHASES:
            values = times.setdefault((row["task_id"], row["node_type"], phase), [])
            ns = row[f"{phase}_ns"]
            if ns is not None and is_time(ns) and len(values) < MOST:
                values.append(ns)
    found = {key: estimate_from_sweeps(values) for key, values in times.items()}
    return {key: variation for key, variation in found.items() if variation is not None}


def measure_canary_variation(rows: Iterable[TaskRow]) -> CanaryVariation:
    """Compute the variation of canaries, by where they ran; each is a process of its own."""
    times: dict[CanaryKey, dict[float, None]] = {}
    for row in rows:
        for ns in row.canaries_ns:
            # The canary after a task may also be the one before the next: count it once.
            times.setdefault(identify_canary(row), {})[ns] = None
    found = {key: estimate_from_canaries(values) for key, values in times.items()}
    return {key: variation for key, variation in found.items() if variation is not None}


def identify_canary(row: TaskRow) -> CanaryKey:
    devices = (row.device, row.threads, row.process_count, row.node_count)
    return (row.canary_model, row.node_type, *devices)
