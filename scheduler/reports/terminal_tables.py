"""Tables and lines that Rich never cuts: a table that is too wide prints each row as a paragraph.

Rich itself cuts names with an ellipsis, often where they differ, or breaks words of three letters.
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
    """Rows of text under column names. left: the number of columns that identify a row.

    right: names of columns aligned to the right. frame: FRAMED or PLAIN. A framed table draws a
    rule where the first column changes and does not repeat its text.
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
        widths = compute_widths([self._name_columns(at) for at in range(len(self.names))], room)
        if widths:
            yield self._build_table(widths)
        else:
            yield from self._build_paragraphs()

    def _name_columns(self, at: int) -> list[str]:
        return [self.names[at], *(row[at].plain for row in self.rows)]

    def _build_table(self, widths: Sequence[int]) -> RenderableType:
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
                is_repeated = bool(self.frame and number and first)
                table.add_row(*([Text("")] if is_repeated else [row[0]]), *row[1:])
        return table

    def _build_paragraphs(self) -> Iterator[RenderableType]:
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


@dataclass(frozen=True)
class UnwrappedLine:
    """A line to copy: the terminal may wrap it, but no line break is printed into it.

    Print it with crop=False. In a picture it is wrapped.
    """

    text: str
    style: str = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if console.record:
            yield Text(self.text, self.style)
        else:
            yield Text(self.text, self.style, no_wrap=True, overflow="ignore")


def compute_widths(columns: Sequence[Iterable[str]], room: int) -> list[int]:
    """Return the width of each column so that no word breaks; empty if they do not fit."""
    widest, narrowest = [], []
    for texts in map(list, columns):
        widest.append(max([1, *map(_measure_width, texts)]))
        words = (word for text in texts for word in text.split())
        narrowest.append(max([1, *map(_measure_width, words)]))
    if sum(widest) <= room:
        return widest
    spare = room - sum(narrowest)
    if spare < 0 or not columns:
        return []
    growth = [most - least for most, least in zip(widest, narrowest, strict=True)]
    added = [spare * width // max(1, sum(growth)) for width in growth]
    return [least + more for least, more in zip(narrowest, added, strict=True)]


def _measure_width(text: str) -> int:
    return max((Text(line).cell_len for line in text.splitlines()), default=0)
