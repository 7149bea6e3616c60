"""Reading and writing of Parquet files: zstd, with delta-encoded integers, which are small.

`pyarrow.dataset` would read many files in one call, but does not name a file that it cannot read.
"""

from collections.abc import Iterator, Sequence
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from velodrome.scheduler.results.deduplication import Files, Report, read_unique_groups
from velodrome.scheduler.results.derived_columns import Fills
from velodrome.scheduler.results.schema import TABLES
from velodrome.scheduler.results.schema_conversion import fit_to_schema

GROUP_ROWS = 2**20


def encode(table: pa.Table) -> pa.Buffer:
    """Encode a table as a whole file in memory: a task's rows are few."""
    sink = pa.BufferOutputStream()
    with writer(sink, table.schema) as open_writer:
        open_writer.write_table(table)
    return sink.getvalue()


def writer(sink: pa.NativeFile | IO[bytes], schema: pa.Schema) -> pq.ParquetWriter:
    plain = [field.name for field in schema if pa.types.is_integer(field.type)]
    texts = [field.name for field in schema if pa.types.is_string(field.type)]
    return pq.ParquetWriter(
        sink,
        schema,
        compression="zstd",
        use_dictionary=texts,  # type: ignore[arg-type]  # a list is documented, the stubs lag
        column_encoding=dict.fromkeys(plain, "DELTA_BINARY_PACKED"),
    )


def merge(files: Files, sink: IO[bytes], fills: Fills, tell: Report) -> None:
    """Merge files into one, in their order, with about one row group in memory.

    report: must raise where rows would be missing.
    """
    fill, schema = fills.get(files.table, _keep_rows), TABLES[files.table]
    groups = read_unique_groups(files, schema.names, tell, collect=iter)
    with writer(sink, schema) as open_writer:
        for rows in _gather_groups(fit_to_schema(group, schema) for group in groups):
            open_writer.write_table(fill(rows), row_group_size=GROUP_ROWS)


def read(files: Files, columns: Sequence[str] | None, tell: Report) -> Iterator[pa.Table]:
    """Read tables with these columns (None: all), null where a file has none; report the rest."""
    schema = schema_of(files.table, columns)
    return (fit_to_schema(group, schema) for group in read_unique_groups(files, schema.names, tell))


def schema_of(table: str, columns: Sequence[str] | None) -> pa.Schema:
    """Return the schema of these columns. KeyError if there is no such table or column."""
    schema = TABLES[table]
    return schema if columns is None else pa.schema([schema.field(name) for name in columns])


def _keep_rows(rows: pa.Table) -> pa.Table:
    return rows


def _gather_groups(groups: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Gather rows into tables of about GROUP_ROWS."""
    waiting: list[pa.Table] = []
    rows = 0
    for group in groups:
        waiting.append(group)
        rows += group.num_rows
        if rows >= GROUP_ROWS:
            yield pa.concat_tables(waiting)
            waiting, rows = [], 0
    if waiting:
        yield pa.concat_tables(waiting)
