"""Types of columns, and tables that are made of columns with units."""

import pyarrow as pa

VERSION = "3"
VERSION_KEY = b"velodrome_schema"

TEXT = pa.string()
WHOLE = pa.int64()
SMALL = pa.int32()
REAL = pa.float64()
YES = pa.bool_()
TIME = pa.timestamp("us", "UTC")  # see `schema_conversion.with_utc_offsets`

Column = tuple[str, pa.DataType, str]  # name, type and unit


def make_table(*columns: Column) -> pa.Schema:
    """Build a schema from (name, type, unit); a unit is kept in the column's metadata."""
    fields = [
        pa.field(name, kind, metadata={b"unit": unit.encode()} if unit else None)
        for name, kind, unit in columns
    ]
    return pa.schema(fields, metadata={VERSION_KEY: VERSION.encode()})
