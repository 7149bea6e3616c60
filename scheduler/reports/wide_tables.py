"""A table that nothing is cut from: where it is too wide for the screen, each row is a paragraph.

Rich cuts names with an ellipsis, often just where they differ, or breaks words of three letters.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

FRAMED, PLAIN = box.HEAVY_HEAD, None
INDENT = 2


@dataclass(frozen=True)
class WideTable:
    """Rows of texts under their names. left: how many columns say what a row is of.

    right: the names of columns that are aligned to the right. frame: FRAMED or PLAIN. A framed
    table has a rule where the first column changes, which is not said again below.
    """

    names: tuple[str, ...]
    rows: tuple[tuple[Text, ...], ...]
    left: int = 1
    right: frozenset[str] = frozenset()
    title: str = ""
    frame: box.Box | None = PLAIN

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        between = 3 if self.frame else 2
        edges = 4 if self.frame else 0
        room = options.max_width - edges - between * (len(self.names) - 1)
        widths = compute_widths([self._columns(at) for at in range(len(self.names))], room)
        if widths:
            yield self._table(widths)
        else:
            yield from self._paragraphs()

    def _columns(self, at: int) -> list[str]:
        return [self.names[at], *(row[at].plain for row in self.rows)]

    def _table(self, widths: Sequence[int]) -> RenderableType:
        table = Table(
            box=self.frame,
            pad_edge=bool(self.frame),
            header_style="bold",
            title=Text(self.title, style="bold") if self.title else None,
            title_justify="left",
        )
        for name, width in zip(self.names, widths, strict=True):
            table.add_column(
                Text(name),
                justify="right" if name in self.right else "left",
                width=width,
                overflow="fold",
            )
        for first, rows in groupby(self.rows, lambda row: row[0].plain if row else ""):
            if self.frame and table.row_count:
                table.add_section()
            for number, row in enumerate(rows):
                again = bool(self.frame and number and first)
                table.add_row(*([Text("")] if again else [row[0]]), *row[1:])
        return table

    def _paragraphs(self) -> Iterator[RenderableType]:
        if self.title:
            yield Text(self.title, style="bold")
        for row in self.rows:
            heading = " ".join(filter(None, (cell.plain for cell in row[: self.left])))
            yield Text(heading, style="bold", overflow="fold")
            for name, cell in zip(self.names[self.left :], row[self.left :], strict=True):
                if cell.plain:
                    line = Text.assemble((f"{name}: " if name else "", "dim"), cell)
                    line.overflow = "fold"
                    yield Padding(line, (0, 0, 0, INDENT))


def compute_widths(columns: Sequence[Iterable[str]], room: int) -> list[int]:
    """How wide each column is made, so that no word of it is broken; empty if they do not fit."""
    whole, least = [], []
    for texts in map(list, columns):
        whole.append(max([1, *map(_width, texts)]))
        words = (word for text in texts for word in text.split())
        least.append(max([1, *map(_width, words)]))
    if sum(whole) <= room:
        return whole
    spare = room - sum(least)
    if spare < 0 or not columns:
        return []
    wanting = [most - few for most, few in zip(whole, least, strict=True)]
    given = [spare * want // max(1, sum(wanting)) for want in wanting]
    return [few + more for few, more in zip(least, given, strict=True)]


def _width(text: str) -> int:
    return max((Text(line).cell_len for line in text.splitlines()), default=0)
