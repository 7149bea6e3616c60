"""Reading of tables of earlier schema versions: renamed and missing columns, times in UTC."""

from collections.abc import Iterable, Mapping

import pyarrow as pa

from velodrome.scheduler.results.schema import TABLES

RENAMED_IN = "2"  # the schema version that renamed them all
# Renamed columns: today's name, and the name in files of earlier versions. No name was used twice,
# so a file's columns show which names it has.
RENAMED: Mapping[str, Mapping[str, str]] = {
    "tasks": {
        "unexpected": "surprise",
        "warm_up_converged": "settled",
        "forward_instability": "forward_doubt",
        "gradient_instability": "gradient_doubt",
        "ceiling_source": "ceiling_from",
        "interference_free": "quiet",
        "interference": "disturbed_by",
        "minor_interference": "tolerated",
        "other_cpu_percent_mean": "foreign_percent_mean",
        "other_cores_percent_mean": "elsewhere_percent_mean",
    },
    "utilization": {
        "other_cpu_percent": "foreign_percent",
        "other_cores_percent": "elsewhere_percent",
        "gpu_other_processes": "gpu_foreign_processes",
        "gpu_other_memory_bytes": "gpu_foreign_memory_bytes",
    },
}


def names_in_file(table: str, names: Iterable[str]) -> dict[str, str]:
    """Map each column of a table that a file has to its name in the file. names: the file's."""
    in_file = frozenset(names)
    old = RENAMED.get(table, {})
    found = {name: name if name in in_file else old.get(name, "") for name in TABLES[table].names}
    return {name: named for name, named in found.items() if named in in_file}


def find_new_name(column: str) -> str:
    """Return today's name of a column that was renamed; empty for any other name."""
    names = ((new, old) for table in RENAMED.values() for new, old in table.items())
    return next((new for new, old in names if old == column.lower()), "")


def fit_to_schema(found: pa.Table, schema: pa.Schema) -> pa.Table:
    """Select and cast the columns of a schema; columns that the table lacks become null."""
    if found.schema.equals(schema):  # without pyarrow.compute, which a cast imports
        return found.replace_schema_metadata(schema.metadata)
    arrays = [
        found[field.name].cast(field.type)
        if field.name in found.schema.names
        else pa.nulls(found.num_rows, field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def with_utc_offsets(table: pa.Table) -> pa.Table:
    """Give timestamps the zone +00:00: Python looks `UTC` up in files that may be missing."""
    for place, field in enumerate(table.schema):
        if pa.types.is_timestamp(field.type) and field.type.tz == "UTC":
            offset_type = pa.timestamp(field.type.unit, "+00:00")
            column = table.column(place).cast(offset_type)  # the same instants
            table = table.set_column(place, field.with_type(offset_type), column)
    return table
