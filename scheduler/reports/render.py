"""Tables as Rich renderables and as Markdown."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from velodrome.scheduler.next_commands import localize_command
from velodrome.scheduler.reports.flat_rows import markdown_rows
from velodrome.scheduler.reports.markdown_text import escape_markdown, format_code_span
from velodrome.scheduler.reports.tables import Footnote, Table, TableCell
from velodrome.scheduler.reports.unwrapped_lines import UnwrappedLine
from velodrome.scheduler.reports.wide_tables import FRAMED, WideTable

MARKS = {"verified": "✓", "unstable": "~", "failed": "✗", "expected": "-", "": ""}
STYLES = {"verified": "green", "unstable": "yellow", "failed": "red", "expected": "", "": "dim"}
SURPRISE = "!"
LEGEND = (
    "median of one batch ± half its 95 % interval over processes, by sweeps or canaries where only "
    "these tell how processes differ · spread: the slowest over the fastest of too few processes "
    "for an interval · neither: a single process · ✓ loss and every gradient agree with the "
    "float64 reference, no check failed · ~ agrees, but the time did not settle · 1.23x: over the "
    "best of the line · - no number, as expected · ! not as expected"
)


def render_tables(tables: Sequence[Table], headline: str = "") -> RenderableType:
    """What the terminal shows: one table a block, its footnotes under it, one legend at the end.

    headline: what whoever reads a number should know first.
    """
    parts: list[RenderableType] = [Text(headline, style="bold yellow")] if headline else []
    for table in tables:
        parts += [_rich_table(table), *_rich_footnotes(table), Text("")]
    return Group(*parts, Text(LEGEND, style="dim"))


def render_markdown(tables: Sequence[Table], headline: str = "") -> str:
    """GitHub's dialect; pastes into an issue."""
    parts = [f"**{escape_markdown(headline)}**"] if headline else []
    for table in tables:
        header = ["model", "", *table.implementations]
        lines = [[line.workload, line.phase, *map(_plain, line.entries)] for line in table.lines]
        remarks = (f"- {escape_markdown(remark)}" for remark in table.remarks)
        grid = markdown_rows(header, lines, 2)
        below = [*_markdown_footnotes(table), *remarks]
        parts.append("\n".join([f"### {escape_markdown(table.title)}", "", *grid, "", *below]))
    return "\n\n".join([*parts, LEGEND]) + "\n"


def _rich_table(table: Table) -> WideTable:
    return WideTable(
        names=("model", "", *table.implementations),
        rows=tuple(
            (Text(line.workload), Text(line.phase), *map(_rich_entry, line.entries))
            for line in table.lines
        ),
        left=2,
        right=frozenset(table.implementations),
        title=table.title,
        frame=FRAMED,
    )


def _rich_entry(entry: TableCell) -> Text:
    style = STYLES[entry.mark] + (" bold" if entry.is_best else "")
    return Text(_plain(entry), style=style)


def _rich_footnotes(table: Table) -> list[RenderableType]:
    notes: list[RenderableType] = []
    if table.surprises:
        notes.append(Text("Surprises", style="bold red"))
    for note in (*table.surprises, *table.as_expected, *table.instabilities):
        style = "" if note.is_surprise else "dim"
        notes.append(Text(f"[{note.number}] {note.label}: {note.reason}", style=style))
        if note.rerun:
            notes.append(UnwrappedLine(f"    again: {localize_command(note.rerun)}", "dim"))
    return [*notes, *(Text(remark, style="dim") for remark in table.remarks)]


def _markdown_footnotes(table: Table) -> list[str]:
    """Not as a numbered list: GitHub would number it anew."""

    def line(note: Footnote) -> str:
        told = escape_markdown(f"{note.label}: {note.reason}")
        return f"- [{note.number}] {told} {format_code_span(note.rerun)}".rstrip()

    surprises = [line(note) for note in table.surprises]
    heading = ["#### Surprises", "", *surprises, ""] if surprises else []
    return [*heading, *map(line, (*table.as_expected, *table.instabilities))]


def _plain(entry: TableCell) -> str:
    behind = f" {entry.ratio:.2f}x" if entry.ratio and not entry.is_best else ""
    mark = f" {MARKS[entry.mark]}" if entry.mark else ""
    surprise = f" {SURPRISE}" if entry.is_surprise else ""
    return f"{entry.text}{behind}{mark}{surprise}"
