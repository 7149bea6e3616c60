"""Command `query`: SQL over the tables of all sweeps, as a table, CSV, JSON or Parquet."""

import csv
import io
import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from enum import StrEnum
from itertools import takewhile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from velodrome.agents.safe_text import strip_controls
from velodrome.scheduler.commands import incomplete_results, vertical_rows
from velodrome.scheduler.commands.output import console, print_lines, print_table
from velodrome.scheduler.errors import ConfigError
from velodrome.scheduler.reports.csv_markdown import escape_formula
from velodrome.scheduler.results.schema_conversion import with_utc_offsets
from velodrome.scheduler.results.sql import run_query
from velodrome.scheduler.results.store import Store
from velodrome.scheduler.standard_streams import is_stdout_open

MOST_SHOWN = 1000  # rows of a table; CSV has all
BATCH_ROWS = 10_000


class Format(StrEnum):
    """A format of the output."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    PARQUET = "parquet"


def parse_format(text: str) -> Format | None:
    """Parse `--format`; None if empty. ConfigError for an unknown format."""
    if text and text not in (*Format,):
        raise ConfigError("--format", f"there is no format '{text}'", f"Give {', '.join(Format)}.")
    return Format(text) if text else None


def query(text: str, results: str | Path, form: Format | None, output: Path | None) -> int:
    """Run a query. form None: by the extension of `output`, else a table."""
    chosen = form or _choose_format(output)
    if chosen is Format.PARQUET and output is None:
        raise ConfigError("--format parquet", "Parquet is not text", "Name a file with --output.")
    store = Store.for_reading(results)
    rows = run_query(store, text)
    incomplete_results.warn_of_faults(store.faults, results)
    status = incomplete_results.exit_status(
        store.faults, {fault.sweep_id for fault in store.faults}
    )
    if output is None:
        _PRINTERS[chosen](rows)
        return status
    try:
        _write(rows, chosen, output)
    except OSError as error:
        problem = f"it cannot be written ({error.strerror or error})"
        raise ConfigError(str(output), problem, "Name another with --output.") from None
    print_lines(f"wrote {_count_rows(rows.num_rows)} to {output}")
    return status


def _choose_format(output: Path | None) -> Format:
    """Return the format of a file's extension. ConfigError if it names none."""
    if output is None:
        return Format.TABLE
    ending = output.suffix.removeprefix(".").lower()
    if ending not in (*Format,):
        mend = "Give --format, or a name that ends in .csv, .json or .parquet."
        raise ConfigError(str(output), "its extension names no format", mend)
    return Format(ending)


def _write(rows: pa.Table, form: Format, output: Path) -> None:
    if form is Format.PARQUET:
        pq.write_table(rows, output, compression="zstd")
        return
    lines = {Format.CSV: _to_csv, Format.JSON: _to_json, Format.TABLE: _to_text}[form](rows)
    with output.open("w", encoding="utf-8", newline="") as file:
        file.writelines(lines)


def _show(rows: pa.Table) -> None:
    names = _make_names_unique(rows)
    cells = [
        [str(_replace_none(cell)) for cell in row] for row in _read_rows(rows.slice(0, MOST_SHOWN))
    ]
    if not cells:
        print_lines("  ".join(names))
    elif vertical_rows.fits_side_by_side(names, cells, console().width):
        right = frozenset(field.name for field in rows.schema if _is_number(field.type))
        print_table([dict(zip(names, row, strict=True)) for row in cells], right)
    else:
        console().print(vertical_rows.render_vertical(names, cells, console().width))
        cells = cells[: vertical_rows.MOST]
        print_lines(
            f"{len(names)} columns are too many for one line; name fewer: SELECT framework, ..."
        )
    hidden_count = rows.num_rows - len(cells)
    hidden = f", {hidden_count:,} of them not shown: --format csv" if hidden_count else ""
    print_lines(f"{_count_rows(rows.num_rows)}{hidden}")


def _print(lines: Callable[[pa.Table], Iterator[str]]) -> Callable[[pa.Table], None]:
    """Strip control characters for a terminal; a file gets the text as it is."""
    return lambda rows: sys.stdout.writelines(
        map(strip_controls, takewhile(lambda line: is_stdout_open(), lines(rows)))
    )


def _to_text(rows: pa.Table) -> Iterator[str]:
    """Yield lines with tabs between cells, which no cell contains."""
    yield "\t".join(_make_names_unique(rows)) + "\n"
    for row in _read_rows(rows):
        yield "\t".join(" ".join(str(_replace_none(cell)).split("\t")) for cell in row) + "\n"


def _to_csv(rows: pa.Table) -> Iterator[str]:
    yield _to_csv_line([escape_formula(name) for name in _make_names_unique(rows)])
    for row in _read_rows(rows):
        yield _to_csv_line([escape_formula(_replace_none(cell)) for cell in row])


def _to_csv_line(cells: list[object]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()


def _to_json(rows: pa.Table) -> Iterator[str]:
    """Yield an array of objects, one per line."""
    names = _make_names_unique(rows)
    before = "["
    for row in _read_rows(rows):
        record = {name: _make_jsonable(cell) for name, cell in zip(names, row, strict=True)}
        yield f"{before}\n  {json.dumps(record, default=str)}"
        before = ","
    yield "\n]\n" if before == "," else "[]\n"


_PRINTERS: dict[Format, Callable[[pa.Table], None]] = {
    Format.TABLE: _show,
    Format.CSV: _print(_to_csv),
    Format.JSON: _print(_to_json),
}


def _read_rows(rows: pa.Table) -> Iterator[list[object]]:
    """Yield rows by position, since names may repeat. ConfigError for a value that Python lacks."""
    for batch in with_utc_offsets(rows).to_batches(max_chunksize=BATCH_ROWS):
        columns = [
            [_simplify(cell) for cell in _read_values(name, column.to_pylist)]
            for name, column in zip(batch.schema.names, batch.columns, strict=True)
        ]
        yield from map(list, zip(*columns, strict=True))


def _read_values(name: str, values: Callable[[], Sequence[object]]) -> list[object]:
    try:
        return [*values()]
    except (ValueError, OverflowError) as error:
        problem = f"column {name} has a value that cannot be shown ({error})"
        mend = "Cast it, such as: column::VARCHAR; or write it with --output FILE.parquet."
        raise ConfigError("query", problem, mend) from None


def _make_names_unique(rows: pa.Table) -> list[str]:
    """Make column names unique."""
    names: list[str] = []
    for name in rows.schema.names:
        names.append(name if name not in names else f"{name}_{len(names)}")
    return names


def _simplify(value: object) -> object:
    """Convert a whole decimal, DuckDB's type for a sum of integers, to int."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, bytes):
        return value.hex()
    return value


def _make_jsonable(value: object) -> object:
    """Replace NaN and infinity, which JSON lacks, by null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(name): _make_jsonable(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_make_jsonable(entry) for entry in value]
    return value


def _replace_none(value: object) -> object:
    return "" if value is None else value


def _count_rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
