"""Tables to Parquet and back: zstd, and integers by their differences, which are small.

`pyarrow.dataset` would read many files in one call, but it imports pandas, for seconds.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from velodrome.scheduler.errors import StoreError
from velodrome.scheduler.results.filling import Fills
from velodrome.scheduler.results.schema import TABLES, VERSION, VERSION_KEY

GROUP_ROWS = 2**20
KNOWN_VERSIONS = tuple(str(number) for number in range(1, int(VERSION) + 1))


def encoded(table: pa.Table) -> pa.Buffer:
    """A whole file, in memory: a task's rows are few."""
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


def merge(table: str, files: Iterable[pq.ParquetFile], sink: IO[bytes], fills: Fills) -> None:
    """One file with the rows of all, in their order, holding about a row group in memory."""
    fill = fills.get(table, _as_it_is)
    with writer(sink, TABLES[table]) as open_writer:
        for rows in _gathered(_groups(files, TABLES[table])):
            open_writer.write_table(fill(rows), row_group_size=GROUP_ROWS)


def read(
    table: str, files: Iterable[pq.ParquetFile], columns: Sequence[str] | None = None
) -> pa.Table:
    """All rows; columns that a file lacks are null. StoreError if a file is of a later version."""
    schema = TABLES[table]
    if columns is not None:
        schema = pa.schema([schema.field(name) for name in columns])
    groups = list(_groups(files, schema))
    return pa.concat_tables(groups) if groups else schema.empty_table()


def require_known(file: pq.ParquetFile) -> None:
    """StoreError if a later Velodrome gave its columns another meaning than they have here."""
    version = (file.schema_arrow.metadata or {}).get(VERSION_KEY, b"1").decode(errors="replace")
    if version not in KNOWN_VERSIONS:
        raise StoreError(
            f"results of schema version {version!r:.20} cannot be read: this Velodrome knows "
            f"{' and '.join(KNOWN_VERSIONS)}. Read them with the Velodrome that wrote them."
        )


def _as_it_is(rows: pa.Table) -> pa.Table:
    return rows


def _groups(files: Iterable[pq.ParquetFile], schema: pa.Schema) -> Iterator[pa.Table]:
    for opened in files:
        with opened as file:
            require_known(file)
            there = [name for name in schema.names if name in file.schema_arrow.names]
            for number in range(file.num_row_groups):
                yield _fitted(file.read_row_group(number, columns=there), schema)


def _gathered(groups: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """The same rows in tables of GROUP_ROWS and a little more."""
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


def _fitted(found: pa.Table, schema: pa.Schema) -> pa.Table:
    """The columns of the schema; null where a file of an earlier version has none."""
    if found.schema.equals(schema):  # without pyarrow.compute, which a cast imports
        return found.replace_schema_metadata(schema.metadata)
    arrays = [
        found[field.name].cast(field.type)
        if field.name in found.schema.names
        else pa.nulls(found.num_rows, field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema)
