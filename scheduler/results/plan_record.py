"""The plan of a sweep as a table, kept beside its rows so that the sweep can be resumed."""

import pyarrow as pa

from velodrome.agents.task import Task
from velodrome.scheduler.plans.placement import FIRST_CONFIRMATION, Plan

_COLUMNS: dict[str, pa.DataType] = {
    "task_id": pa.string(),
    "repeat": pa.int32(),
    "node_id": pa.string(),  # null: the task fits nowhere
    "spot": pa.string(),
    "reason": pa.string(),  # why it fits nowhere
}
SCHEMA = pa.schema(_COLUMNS)


def build_record(plan: Plan) -> pa.Table:
    """Build the table: a row per placement, and one per task that fits no node."""
    keys = _map_keys(plan)
    rows: list[tuple[object, ...]] = [
        (keys[entry.task], entry.repeat, entry.node_id, entry.spot, None)
        for entry in plan.placements
    ]
    rows += [(keys[entry.task], 0, None, "", entry.reason) for entry in plan.unplaceable]
    columns = zip(*rows, strict=True) if rows else [()] * len(SCHEMA)
    return pa.table([list(column) for column in columns], schema=SCHEMA)


def join(earlier: pa.Table, later: pa.Table) -> pa.Table:
    """Append the rows of the later plan whose (task, repeat) is new.

    A task that fitted no node before and now has one counts as new; its earlier row is dropped.
    """
    placed = set(_list_identities(later.filter(later["node_id"].is_valid())))
    nowhere = earlier["node_id"].is_null().to_pylist()
    before = _list_identities(earlier)
    kept = [
        not (is_nowhere and identity in placed)
        for identity, is_nowhere in zip(before, nowhere, strict=True)
    ]
    known = {identity for identity, is_kept in zip(before, kept, strict=True) if is_kept}
    new = [identity not in known for identity in _list_identities(later)]
    parts = (earlier, kept), (later, new)
    return pa.concat_tables([table.filter(pa.array(some, pa.bool_())) for table, some in parts])


def tasks(record: pa.Table) -> frozenset[str]:
    """Return the keys of all planned tasks."""
    return frozenset(map(str, record["task_id"].to_pylist()))


def without(record: pa.Table, tasks: frozenset[str]) -> pa.Table:
    """Drop the rows of these tasks."""
    return record.filter(
        pa.array([key not in tasks for key in record["task_id"].to_pylist()], pa.bool_())
    )


def first_repeats(record: pa.Table) -> dict[str, dict[str, int]]:
    """Return the number of the first repeat by task key and node; see planning.plan."""
    found: dict[str, dict[str, int]] = {}
    for row in record.to_pylist():
        if row["node_id"] is not None and row["repeat"] < FIRST_CONFIRMATION:
            spots = found.setdefault(row["task_id"], {})
            spots[row["spot"]] = min(row["repeat"], spots.get(row["spot"], row["repeat"]))
    return found


def _list_identities(record: pa.Table) -> list[tuple[str, int]]:
    rows = record.select(["task_id", "repeat"]).to_pylist()
    return [(row["task_id"], row["repeat"]) for row in rows]


def _map_keys(plan: Plan) -> dict[Task, str]:
    """Map tasks to their keys. A key is a hash: computed once per task, not per repeat."""
    tasks = dict.fromkeys(entry.task for entry in plan.placements)
    tasks |= dict.fromkeys(entry.task for entry in plan.unplaceable)
    return {task: task.key for task in tasks}
