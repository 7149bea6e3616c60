"""Generator of docs/schema.md: `python -m velodrome.scheduler.results.schema_page`.

A column's meaning is the comment behind it in velodrome.scheduler.results: schema, task_columns,
phase_columns.
"""

import inspect
import re
import sys
from collections.abc import Iterator, Sequence

import pyarrow as pa

from velodrome.adapters.protocol import TIMED_PHASES
from velodrome.scheduler.results import columns, phase_columns, schema, task_columns
from velodrome.scheduler.results.rate_columns import RATE_COLUMNS

HEAD = f"""\
# Tables and columns

Schema version {columns.VERSION}. This page is generated (`make docs`) from
`scheduler/results/`; [results.md](results.md) explains how to read the tables, and the statuses.

Every file has the version in its metadata (`{columns.VERSION_KEY.decode()}`). A new column keeps
the version and is null in older files. A changed name or meaning raises it. Files of all versions
up to this one are read; a file of a later version is skipped and named.
"""
ROWS = {
    "tasks": "One attempt of one task.",
    "samples": "One timed sample.",
    "utilization": "One sampling instant of one task, per GPU if it has any.",
    "nodes": "One node of one sweep, as first seen by the sweep.",
    "parameters": "One parameter of one verified task.",
}
COMPUTED = """\
## Computed columns of tasks

No file has these: `velodrome query` and `velodrome report --json` compute them for each row.
"""
_TABLE = re.compile(r"([A-Z]+) = make_table\(")
_COLUMN = re.compile(r'\s+\("(\w+)", .*\),\s+# (.+)')
_OF_PHASE = re.compile(r'\s+\(f"{phase}(_\w+)", .*\),\s+# (.+)')  # of every phase


def page() -> str:
    """Return the page as Markdown."""
    sources = (inspect.getsource(module) for module in (phase_columns, task_columns, schema))
    meanings = dict(_read_meanings([line for text in sources for line in text.splitlines()]))
    parts = [_format_table(name, columns, meanings) for name, columns in schema.TABLES.items()]
    return "\n".join([HEAD, *parts, _format_computed()])


def _read_meanings(lines: list[str]) -> Iterator[tuple[tuple[str, str], str]]:
    """Yield the comment of each (table, column)."""
    table = ""
    for line in lines:
        if found := _TABLE.match(line):
            table = found[1].lower()
        elif found := _OF_PHASE.match(line):
            yield from ((("tasks", phase + found[1]), found[2]) for phase in TIMED_PHASES)
        elif found := _COLUMN.match(line):
            yield (table, found[1]), found[2]


def _format_table(name: str, columns: pa.Schema, meanings: dict[tuple[str, str], str]) -> str:
    lines = [f"## {name}", "", ROWS[name], "", "| column | type | unit | meaning |"]
    lines.append("|---|---|---|---|")
    for field in columns:
        unit = (field.metadata or {}).get(b"unit", b"").decode()
        cells = (
            f"`{field.name}`",
            _name_type(field.type),
            unit,
            meanings.get((name, field.name), ""),
        )
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _format_computed() -> str:
    """Format the columns that no file has."""
    lines = [COMPUTED, "| column | unit | computed from | meaning |", "|---|---|---|---|"]
    lines += [
        f"| `{column.name}` | {column.unit} | {_format_product(column.over)} / "
        f"{_format_product(column.under)} | {column.meaning} |"
        for column in RATE_COLUMNS
    ]
    return "\n".join(lines) + "\n"


def _format_product(names: Sequence[str]) -> str:
    product = " x ".join(f"`{name}`" for name in names)
    return f"({product})" if len(names) > 1 else product


def _name_type(kind: pa.DataType) -> str:
    """Name a type by words that readers of Parquet know."""
    if pa.types.is_list(kind):
        return f"list of {_name_type(kind.value_type)}"
    if pa.types.is_struct(kind):
        inner = (f"{field.name} {_name_type(field.type)}" for field in kind)
        return f"({', '.join(inner)})"
    return {"timestamp[us, tz=UTC]": "timestamp, UTC", "double": "float64"}.get(
        str(kind), str(kind)
    )


if __name__ == "__main__":
    sys.stdout.write(page())
