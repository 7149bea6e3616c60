"""What a page needs of a results folder, and no more of it: columns, one sweep, a few tasks."""

from collections.abc import Iterable, Sequence

from velodrome.scheduler.reports.html.figures.traced_tasks import TracedTask
from velodrome.scheduler.reports.html.queries import quoted
from velodrome.scheduler.reports.possible_rows import drop_impossible_values
from velodrome.scheduler.reports.tables import PHASES
from velodrome.scheduler.reports.task_rows import Row
from velodrome.scheduler.results.schema import TABLES
from velodrome.scheduler.results.schema_conversion import with_utc_offsets
from velodrome.scheduler.results.sql import run_query
from velodrome.scheduler.results.store import Store

_GPU_MEANS = ("percent_mean", "memory_percent_mean", "power_w_mean")
LOG_CHARACTERS = 8000  # of a log's end, from which the page keeps less
UNUSED = frozenset(
    {
        "log_tail",
        "checks",
        "provision_ns",
        "transfer_ns",
        "seed",
        "gpu_model",
        "minor_interference",
        "model_hash",
    }
    | {"sampling_cpu_s", "other_cpu_percent_mean", "other_cores_percent_mean", "steal_percent_mean"}
    | {f"{phase}_gpu_{what}" for phase in PHASES for what in _GPU_MEANS}
    | {f"{phase}_{what}" for phase in PHASES for what in ("cpu_percent_mean", "sm_mhz_mean")}
)
READING = ("task_id", "repeat", "at_ns", "phase", "cpu_percent", "gpu_percent")


def task_rows(store: Store, sweep_id: str) -> list[Row]:
    """Of one sweep; the log's end only of what has no time, for it is long."""
    columns = ", ".join(name for name in TABLES["tasks"].names if name not in UNUSED)
    log = f"case when forward_median_ns is null then right(log_tail, {LOG_CHARACTERS}) end"
    return [
        *drop_impossible_values(
            _rows(store, f"select {columns}, {log} as log_tail from tasks", sweep_id)
        )
    ]


def node_rows(store: Store, sweep_id: str) -> list[Row]:
    return [*_rows(store, "select * from nodes", sweep_id)]


def readings(store: Store, sweep_id: str, picked: Sequence[TracedTask]) -> list[Row]:
    """Of the utilization of those tasks, in the order of time."""
    if not picked:
        return []
    ids = ", ".join(quoted(one.task_id) for one in picked)
    columns = ", ".join(READING)
    more = f" and task_id in ({ids}) order by at_ns"
    return [*_rows(store, f"select {columns} from utilization", sweep_id, more)]


def checks(store: Store, sweep_id: str, task_ids: Iterable[str]) -> list[Row]:
    """The column `checks` of those tasks: of all tasks of a large sweep it is too long."""
    ids = ", ".join(map(quoted, dict.fromkeys(task_ids)))
    if not ids:
        return []
    query = "select task_id, repeat, attempt, checks from tasks"
    return [*_rows(store, query, sweep_id, f" and checks is not null and task_id in ({ids})")]


def _rows(store: Store, query: str, sweep_id: str, more: str = "") -> list[dict[str, object]]:
    found = run_query(store, f"{query} where sweep_id = {quoted(sweep_id)}{more}")
    return [*with_utc_offsets(found).to_pylist()]
