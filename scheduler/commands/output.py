"""Output of commands: rows as JSON or a table, and closing lines that name the next command."""

import io
import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console, RenderableType
from rich.text import Text

from velodrome.agents.safe_text import strip_controls
from velodrome.scheduler.errors import ConfigError
from velodrome.scheduler.reports.terminal_tables import WideTable

PICTURE_WIDTH = 110

Row = Mapping[str, object]


def console() -> Console:
    """Make a console on standard output; wide where no terminal limits the lines."""
    screen = Console(highlight=False)
    return screen if screen.is_terminal else Console(highlight=False, width=160)


def print_json(rows: Sequence[Row] | Row) -> None:
    """Print JSON and nothing else to stdout. NaN and infinity become null."""
    sys.stdout.write(json.dumps(to_jsonable(rows), indent=2, default=str) + "\n")


def print_table(rows: Sequence[Row], right: frozenset[str] = frozenset()) -> None:
    """Print a table. Columns are the keys of the first row; `right` names right-aligned ones."""
    console().print(_build_table(rows, right, 1))


def make_table(rows: Sequence[Row], left: int) -> WideTable:
    """Make a table to print later: all but the first `left` columns are right-aligned."""
    return _build_table(rows, frozenset([*rows[0]][left:] if rows else ()), left)


def print_lines(*lines: str) -> None:
    """Print lines without wrapping."""
    for line in lines:
        console().print(Text(strip_controls(line)), soft_wrap=True)


def draw_svg(renderable: RenderableType, picture: Path, title: str) -> None:
    """Write a terminal picture as SVG, with fixed colours. ConfigError if that fails."""
    screen = Console(record=True, width=PICTURE_WIDTH, file=io.StringIO(), highlight=False)
    screen.print(renderable)
    try:
        picture.write_text(screen.export_svg(title=title))
    except OSError as error:
        reason = f"cannot be written ({error.strerror or error})"
        raise ConfigError(str(picture), reason, "Name another file with --svg.") from None


def _build_table(rows: Sequence[Row], right: frozenset[str], left: int) -> WideTable:
    names = tuple(rows[0]) if rows else ()
    titles = {name: strip_controls(name) for name in names}
    cells = [tuple(Text(strip_controls(str(cell))) for cell in row.values()) for row in rows]
    return WideTable(
        tuple(titles.values()),
        tuple(cells),
        left,
        frozenset(titles[name] for name in right if name in titles),
    )


def to_jsonable(value: object) -> object:
    """Return the value with text as keys, lists for tuples, and None for NaN and infinity."""
    if isinstance(value, Mapping):
        return {str(name): to_jsonable(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_jsonable(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
