"""How commands speak: rows as JSON or a table, and the closing lines that name what comes next."""

import json
import math
import sys
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

Row = Mapping[str, object]


def console() -> Console:
    """Standard output; as wide as it takes where no terminal cuts the lines."""
    screen = Console(highlight=False)
    return screen if screen.is_terminal else Console(highlight=False, width=160)


def print_json(rows: Sequence[Row] | Row) -> None:
    """Nothing else goes to stdout. What JSON does not know (NaN, infinity) becomes null."""
    sys.stdout.write(json.dumps(_plain(rows), indent=2, default=str) + "\n")


def print_table(rows: Sequence[Row], right: frozenset[str] = frozenset()) -> None:
    """Columns are the keys of the first row; `right` names those aligned to the right."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in rows[0] if rows else ():
        table.add_column(name, justify="right" if name in right else "left")
    for row in rows:
        table.add_row(*(Text(str(value)) for value in row.values()))
    console().print(table)


def closing(*lines: str) -> None:
    """What was written and the next useful command, one line each."""
    for line in lines:
        console().print(Text(line), soft_wrap=True)


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(name): _plain(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
