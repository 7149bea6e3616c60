"""Columns computed at compaction: ceilings, which are known only when a sweep is over."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType

import pyarrow as pa

from velodrome.agents.measurement import Status
from velodrome.scheduler.results.ceilings import (
    CEILING_COLUMNS,
    MODEL_NAMES,
    Ceilings,
    RateUnit,
    build_ceiling_columns,
    build_dtype_ceilings,
    build_node_ceilings,
)
from velodrome.scheduler.results.schema import TABLES
from velodrome.scheduler.results.typed_rows import TaskRow, task_rows

Fill = Callable[[pa.Table], pa.Table]
Fills = Mapping[str, Fill]
"""Per table, what is done to its rows on their way into one file."""

NO_FILLS: Fills = MappingProxyType({})

MOST_OTHERS = 20  # sweeps, the newest, that are looked through for a ceiling
SLICE_ROWS = 2**14  # that are held as Python's values at a time
_PLACE = (
    "node_id",
    "node_type",
    "device",
    "gpu_name",
    "gpu_count",
    "processes",
    "nodes",
    "threads",
    "variant",
    "dtype",
)
_TASKS = ("ceiling_flops_per_s", "ceiling_source", "gradient_efficiency")


def find_ceilings(
    read: Callable[[str], pa.Table], sweep_id: str, others: Sequence[str]
) -> Ceilings:
    """Return the ceilings of a sweep; reads the others, newest first, only if some lack.

    read: returns CEILING_COLUMNS of a sweep's `tasks`. Damage in other sweeps does not matter.
    """
    table = read(sweep_id)
    own = _select_ceiling_rows(table)
    found = Ceilings(own)
    if not _lacks(table, found):
        return found
    elsewhere: list[TaskRow] = []
    for one in others[:MOST_OTHERS]:
        elsewhere += _select_ceiling_rows(read(one))
    return Ceilings(own, elsewhere) if elsewhere else found


def ceiling_fills(ceilings: Ceilings) -> Fills:
    """Return the functions that fill in ceilings, by table; none if there are no ceilings."""
    if not ceilings:
        return NO_FILLS
    return {
        "tasks": lambda table: _fill_tasks(table, ceilings),
        "nodes": lambda table: _fill_nodes(table, ceilings),
    }


def fill_ceilings(table: pa.Table, ceilings: Ceilings) -> pa.Table:
    """Fill in the ceiling and efficiency of rows of `tasks` that have none, where they are known.

    An efficiency above 1 stays: the row beat the best product.
    """
    if not ceilings:
        return table
    import pyarrow.compute as pc

    has_ceiling = pc.is_valid(table["ceiling_flops_per_s"])
    found = _fill_tasks(table, ceilings)
    for name in _TASKS:
        place = table.schema.get_field_index(name)
        column = pc.if_else(has_ceiling, table[name], found[name])
        table = table.set_column(place, table.schema.field(place), column)
    return table


def without_tasks(fills: Fills, tasks: frozenset[str]) -> Fills:
    """Add a filter that drops the rows of these tasks from every table."""
    if not tasks:
        return fills
    return {name: partial(_drop_tasks, tasks, fills.get(name)) for name in TABLES}


def _drop_tasks(tasks: frozenset[str], fill: Fill | None, table: pa.Table) -> pa.Table:
    if "task_id" in table.column_names:
        kept = [key not in tasks for key in table["task_id"].to_pylist()]
        table = table.filter(pa.array(kept, pa.bool_()))
    return fill(table) if fill else table


def _select_ceiling_rows(table: pa.Table) -> list[TaskRow]:
    import pyarrow.compute as pc

    wanted = pc.is_in(table["model"], pa.array(sorted(MODEL_NAMES)))
    return task_rows(table.filter(wanted))


def _lacks(table: pa.Table, ceilings: Ceilings) -> bool:
    """Return True if something was timed on a device without a ceiling."""
    import pyarrow.compute as pc

    numbered = pa.array([status.value for status in Status if status.has_number])
    timed = table.filter(pc.is_in(table["status"], numbered))
    places = timed.group_by(list(_PLACE)).aggregate([("started_at", "max")])
    rows = task_rows(places.rename_columns([*_PLACE, "started_at"]))
    return any(ceilings.of(row, unit) is None for row in rows for unit in RateUnit)


def _fill_tasks(table: pa.Table, ceilings: Ceilings) -> pa.Table:
    starts = range(0, table.num_rows, SLICE_ROWS)
    parts = [_fill_slice(table.slice(start, SLICE_ROWS), ceilings) for start in starts]
    return pa.concat_tables(parts) if parts else table


def _fill_slice(table: pa.Table, ceilings: Ceilings) -> pa.Table:
    rows = task_rows(table.select(list(CEILING_COLUMNS)))
    held = [build_ceiling_columns(row, ceilings.of(row, RateUnit.FLOPS)) for row in rows]
    return _replace_columns("tasks", table, {name: [row[name] for row in held] for name in _TASKS})


def _fill_nodes(table: pa.Table, ceilings: Ceilings) -> pa.Table:
    node_ids = [str(node_id) for node_id in table["node_id"].to_pylist()]
    built = {"ceilings": build_node_ceilings, "ceilings_by_dtype": build_dtype_ceilings}
    columns = {
        name: [build(ceilings.own, node_id) or None for node_id in node_ids]
        for name, build in built.items()
    }
    return _replace_columns("nodes", table, columns)


def _replace_columns(
    name: str, table: pa.Table, columns: Mapping[str, Sequence[object]]
) -> pa.Table:
    for column, values in columns.items():
        field = TABLES[name].field(column)
        place = table.schema.get_field_index(column)
        table = table.set_column(place, field, pa.array(values, field.type))
    return table
