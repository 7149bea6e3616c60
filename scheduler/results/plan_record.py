"""What a sweep was to do, as a table that is kept beside its rows, for going on with it."""

import pyarrow as pa

from velodrome.agents.task import Task
from velodrome.scheduler.plans.planning import CONFIRMING, Plan

_COLUMNS: dict[str, pa.DataType] = {
    "task_id": pa.string(),
    "repeat": pa.int32(),
    "node_id": pa.string(),  # null: the task fits nowhere
    "spot": pa.string(),
    "reason": pa.string(),  # why it fits nowhere
}
SCHEMA = pa.schema(_COLUMNS)


def of_plan(plan: Plan) -> pa.Table:
    """A row per placement, and one per task that fits nowhere."""
    keys = _keys(plan)
    rows: list[tuple[object, ...]] = [
        (keys[entry.task], entry.repeat, entry.node_id, entry.spot, None)
        for entry in plan.placements
    ]
    rows += [(keys[entry.task], 0, None, "", entry.reason) for entry in plan.unplaceable]
    columns = zip(*rows, strict=True) if rows else [()] * len(SCHEMA)
    return pa.table([list(column) for column in columns], schema=SCHEMA)


def join(earlier: pa.Table, later: pa.Table) -> pa.Table:
    """The earlier rows, then those of the later plan whose (task, repeat) is new.

    What fitted nowhere and now has a node is new, and its earlier row is left out.
    """
    placed = set(_identities(later.filter(later["node_id"].is_valid())))
    nowhere = earlier["node_id"].is_null().to_pylist()
    before = _identities(earlier)
    kept = [
        not (is_nowhere and identity in placed)
        for identity, is_nowhere in zip(before, nowhere, strict=True)
    ]
    known = {identity for identity, is_kept in zip(before, kept, strict=True) if is_kept}
    new = [identity not in known for identity in _identities(later)]
    parts = (earlier, kept), (later, new)
    return pa.concat_tables([table.filter(pa.array(some, pa.bool_())) for table, some in parts])


def tasks(record: pa.Table) -> frozenset[str]:
    """The keys of all that is planned."""
    return frozenset(map(str, record["task_id"].to_pylist()))


def without(record: pa.Table, tasks: frozenset[str]) -> pa.Table:
    """Less the rows of these tasks."""
    return record.filter(
        pa.array([key not in tasks for key in record["task_id"].to_pylist()], pa.bool_())
    )


def first_repeats(record: pa.Table) -> dict[str, dict[str, int]]:
    """Of a task's key and a spot, the number of its first repeat there; see planning.plan."""
    found: dict[str, dict[str, int]] = {}
    for row in record.to_pylist():
        if row["node_id"] is not None and row["repeat"] < CONFIRMING:
            spots = found.setdefault(row["task_id"], {})
            spots[row["spot"]] = min(row["repeat"], spots.get(row["spot"], row["repeat"]))
    return found


def _identities(record: pa.Table) -> list[tuple[str, int]]:
    rows = record.select(["task_id", "repeat"]).to_pylist()
    return [(row["task_id"], row["repeat"]) for row in rows]


def _keys(plan: Plan) -> dict[Task, str]:
    """A key is a hash of a text: made once per task, not per repeat."""
    tasks = dict.fromkeys(entry.task for entry in plan.placements)
    tasks |= dict.fromkeys(entry.task for entry in plan.unplaceable)
    return {task: task.key for task in tasks}
