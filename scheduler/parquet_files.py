"""Tables to Parquet and back: zstd, and integers by their differences, which are small."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from velodrome.scheduler.schema import TABLES

GROUP_ROWS = 2**20


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


def merge(table: str, files: Sequence[Path], target: Path) -> None:
    """One file with the rows of all, in their order, holding one row group at a time in memory."""
    with target.open("wb") as sink, writer(sink, TABLES[table]) as open_writer:
        for group in _groups(table, files):
            open_writer.write_table(group, row_group_size=GROUP_ROWS)


def read(table: str, files: Sequence[Path], columns: Sequence[str] | None = None) -> pa.Table:
    """All rows. FileNotFoundError if a file is gone meanwhile; columns a file lacks are null."""
    chosen = list(columns) if columns is not None else TABLES[table].names
    if not files:
        return TABLES[table].empty_table().select(chosen)
    return _dataset(table, files).to_table(columns=chosen)


def _groups(table: str, files: Sequence[Path]) -> Iterator[pa.Table]:
    batches: list[pa.RecordBatch] = []
    rows = 0
    for batch in _dataset(table, files).to_batches():
        batches.append(batch)
        rows += batch.num_rows
        if rows >= GROUP_ROWS:
            yield pa.Table.from_batches(batches, TABLES[table])
            batches, rows = [], 0
    if batches:
        yield pa.Table.from_batches(batches, TABLES[table])


def _dataset(table: str, files: Sequence[Path]) -> ds.Dataset:
    return ds.dataset([str(file) for file in files], schema=TABLES[table], format="parquet")
