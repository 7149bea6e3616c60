"""Reads from a results folder that a page needs: only its columns, sweep and tasks."""

from collections.abc import Iterable, Sequence

import pyarrow as pa

from velodrome.adapters.protocol import USUAL_PHASES
from velodrome.scheduler.reports.html.figures.traced_tasks import TracedTask
from velodrome.scheduler.reports.html.queries import WITH_NUMBER, quote_sql
from velodrome.scheduler.reports.impossible_values import drop_impossible_values
from velodrome.scheduler.results.detail_rows import (
    NodeRow,
    ParameterRow,
    ReadingRow,
    node_rows,
    parameter_rows,
    reading_rows,
)
from velodrome.scheduler.results.schema import TABLES
from velodrome.scheduler.results.sql import run_query
from velodrome.scheduler.results.store import Store
from velodrome.scheduler.results.typed_rows import TaskRow, task_rows

_GPU_MEANS = ("percent_mean", "memory_percent_mean", "power_w_mean")
LOG_CHARACTERS = 8000  # of a log's end; the page shows fewer
UNUSED = frozenset(
    {"log_tail", "checks", "provision_ns", "transfer_ns", "minor_interference", "model_hash"}
    | {"sampling_cpu_s", "other_cpu_percent_mean", "other_cores_percent_mean", "steal_percent_mean"}
    | {f"{phase}_gpu_{what}" for phase in USUAL_PHASES for what in _GPU_MEANS}
    | {f"{phase}_{what}" for phase in USUAL_PHASES for what in ("cpu_percent_mean", "sm_mhz_mean")}
)
MOST_ERRORS = 6  # gradients of one task
READING = ("task_id", "repeat", "at_ns", "phase", "cpu_percent", "gpu_percent")


def read_task_rows(store: Store, sweep_id: str) -> list[TaskRow]:
    """Read the rows of one sweep; the end of the log only for tasks without a time."""
    columns = ", ".join(name for name in TABLES["tasks"].names if name not in UNUSED)
    log = f"case when not ({WITH_NUMBER}) then right(log_tail, {LOG_CHARACTERS}) end"
    return task_rows(
        drop_impossible_values(
            _read_table(store, f"select {columns}, {log} as log_tail from tasks", sweep_id)
        )
    )


def read_node_rows(store: Store, sweep_id: str) -> list[NodeRow]:
    return node_rows(_read_table(store, "select * from nodes", sweep_id))


def read_utilization(store: Store, sweep_id: str, tasks: Sequence[TracedTask]) -> list[ReadingRow]:
    """Read the utilization of a few tasks, in the order of time."""
    if not tasks:
        return []
    ids = ", ".join(quote_sql(task.task_id) for task in tasks)
    columns = ", ".join(READING)
    rest = f" and task_id in ({ids}) order by at_ns"
    return reading_rows(_read_table(store, f"select {columns} from utilization", sweep_id, rest))


def read_checks(store: Store, sweep_id: str, task_ids: Iterable[str]) -> list[TaskRow]:
    """Read the column `checks` of a few tasks: for a large sweep it is too long to read whole."""
    ids = ", ".join(map(quote_sql, dict.fromkeys(task_ids)))
    if not ids:
        return []
    query = "select task_id, repeat, attempt, checks from tasks"
    return task_rows(
        _read_table(store, query, sweep_id, f" and checks is not null and task_id in ({ids})")
    )


def read_errors(store: Store, sweep_id: str, task_ids: Iterable[str]) -> list[ParameterRow]:
    """Read the gradient errors of a few tasks that are nearest to their tolerances, over repeats.

    A parameter whose tolerance was not recorded is left out; a NaN is the worst.
    """
    ids = ", ".join(map(quote_sql, dict.fromkeys(task_ids)))
    if not ids:
        return []
    query = (
        "with worst as (select task_id, name, max(coalesce(error, 'inf'::double)) as largest, "
        f"max(allowed) as bound from parameters where sweep_id = {quote_sql(sweep_id)} "
        f"and allowed > 0 and task_id in ({ids}) group by task_id, name) "
        "select task_id, name, largest as error, bound as allowed from worst "
        "qualify row_number() over (partition by task_id order by largest / bound desc, name) "
        f"<= {MOST_ERRORS} order by task_id, largest / bound desc, name"
    )
    return parameter_rows(run_query(store, query))


def _read_table(store: Store, query: str, sweep_id: str, rest: str = "") -> pa.Table:
    return run_query(store, f"{query} where sweep_id = {quote_sql(sweep_id)}{rest}")
