"""Vertical layout of rows too wide for a terminal: a line per column, rows side by side."""

from collections.abc import Iterator, Sequence

from rich.cells import cell_len, set_cell_size
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from velodrome.agents.safe_text import strip_controls

Cells = Sequence[Sequence[str]]
"""Rows, each with a text per column."""

LEGIBLE = 24  # characters to which a column of text may be folded
WIDEST = 40  # of a value, before it is folded
LONGEST = 160  # of a value, before it is cut
MOST = 20  # rows


def fits_side_by_side(names: Sequence[str], rows: Cells, width: int) -> bool:
    """Return True if all columns are legible side by side."""
    natural = (max(map(cell_len, column)) for column in zip(names, *rows, strict=True))
    return sum(min(length, LEGIBLE) for length in natural) + 2 * (len(names) - 1) <= width


def render_vertical(names: Sequence[str], rows: Cells, width: int) -> RenderableType:
    """Render the first MOST rows; columns that are empty in all of them are named below."""
    texts = [[_cut(value) for value in row] for row in rows[:MOST]]
    is_filled = [any(column) for column in zip(*texts, strict=True)]
    lines = [at for at, filled in enumerate(is_filled) if filled]
    empty = [
        strip_controls(name) for name, filled in zip(names, is_filled, strict=True) if not filled
    ]
    of_names = min(max((cell_len(names[at]) for at in lines), default=0), width // 2)
    natural = max((cell_len(value) for row in texts for value in row), default=0)
    of_values = min(natural, WIDEST, width - of_names - 2)
    beside = max(1, (width - of_names) // (of_values + 2))
    blocks: list[RenderableType] = []
    for first in range(0, len(texts), beside):
        group = texts[first : first + beside]
        blocks += [_build_block(names, lines, group, first, (of_names, of_values)), Text("")]
    if empty:
        blocks.append(Text(f"empty in all of these rows: {', '.join(empty)}", style="dim"))
    return Group(*blocks)


def _build_block(
    names: Sequence[str], lines: Sequence[int], rows: Cells, first: int, widths: tuple[int, int]
) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("", width=widths[0], overflow="fold", style="dim")
    for number, _ in enumerate(rows, first + 1):
        table.add_column(f"row {number}", width=widths[1], overflow="fold")
    for at in lines:
        table.add_row(*(Text(text) for text in _format_line(names[at], [row[at] for row in rows])))
    return table


def _format_line(name: str, values: Sequence[str]) -> Iterator[str]:
    yield strip_controls(name)
    yield from values


def _cut(value: str) -> str:
    """Shorten a value to one line."""
    text = " ".join(strip_controls(value).split())
    return text if cell_len(text) <= LONGEST else f"{set_cell_size(text, LONGEST - 1)}…"
