"""Rich and Markdown renderings of report tables."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from velodrome.scheduler.next_commands import localize_command
from velodrome.scheduler.reports.cell_work import GridUnit
from velodrome.scheduler.reports.csv_markdown import (
    escape_markdown,
    format_code_span,
    to_markdown_rows,
)
from velodrome.scheduler.reports.footnotes import Footnote
from velodrome.scheduler.reports.tables import Table, TableCell
from velodrome.scheduler.reports.terminal_tables import FRAMED, UnwrappedLine, WideTable

MARKS = {
    "verified": "✓",
    "itself": "≡",
    "unstable": "~",
    "failed": "✗",
    "expected": "-",
    "": "",
}
STYLES = {
    "verified": "green",
    "itself": "cyan",
    "unstable": "yellow",
    "failed": "red",
    "expected": "",
    "": "dim",
}
UNEXPECTED = "!"
TITLES = {
    GridUnit.TIME: "time: median of one batch",
    GridUnit.RATE: "rate: images, vectors or true tokens per second by the median time of a batch, "
    "higher is better,",
    GridUnit.FLOPS: "FLOP/s: of the products in the model's definition, by the median time of a "
    "batch, higher is better,",
    GridUnit.MFU: "MFU: FLOP/s over the vendor's dense peak in that precision, higher is better,",
    GridUnit.ALGBW: "algorithm bandwidth: the size of a collective operation over its median time, "
    "higher is better,",
    GridUnit.BUSBW: "bus bandwidth: the algorithm bandwidth times the factor of nccl-tests, to be "
    "compared with that of a link, higher is better,",
    GridUnit.ENERGY: "energy: J per image, vector or true token, median over repeats, lower is "
    "better,",
    GridUnit.COST: "cost: price of a million images, vectors or true tokens by the median time of "
    "a batch, lower is better,",
}
RATIOS = {
    unit: "0.81x: ratio to the best" if unit.is_rate else "1.23x: ratio to the best"
    for unit in GridUnit
} | {GridUnit.TIME: "1.23x: ratio to the fastest"}
LEGENDS = {
    unit: f"{title} ± half its 95 % interval over processes (by sweeps or by canaries: "
    "estimated from other sweeps or from canaries) · spread: slowest process over fastest, too few "
    "for an interval · no ±: one process · ✓ verified: loss and all gradients agree with the "
    "float64 reference, no check failed · ~ verified, but the timing is not stable · "
    f"{RATIOS[unit]} of the line · ✗ failed · - no time, as expected · ! unexpected"
    for unit, title in TITLES.items()
}


def render_tables(
    tables: Sequence[Table], headline: str = "", unit: GridUnit = GridUnit.TIME
) -> RenderableType:
    """Render one table per platform with its footnotes, then the legend.

    headline: a warning above the first table, e.g. about interference.
    """
    parts: list[RenderableType] = [Text(headline, style="bold yellow")] if headline else []
    for table in tables:
        parts += [_build_rich_table(table), *_build_rich_footnotes(table), Text("")]
    return Group(*parts, Text(LEGENDS[unit], style="dim"))


def render_markdown(
    tables: Sequence[Table], headline: str = "", unit: GridUnit = GridUnit.TIME
) -> str:
    """Render as GitHub Markdown, for example to paste into an issue."""
    parts = [f"**{escape_markdown(headline)}**"] if headline else []
    for table in tables:
        header = ["model", "", *table.implementations]
        lines = [
            [line.workload, line.phase, *map(_format_entry, line.entries)] for line in table.lines
        ]
        remarks = (f"- {escape_markdown(remark)}" for remark in table.remarks)
        grid = to_markdown_rows(header, lines, 2)
        below = [*_format_markdown_footnotes(table), *remarks]
        parts.append("\n".join([f"### {escape_markdown(table.title)}", "", *grid, "", *below]))
    return "\n\n".join([*parts, LEGENDS[unit]]) + "\n"


def _build_rich_table(table: Table) -> WideTable:
    return WideTable(
        names=("model", "", *table.implementations),
        rows=tuple(
            (Text(line.workload), Text(line.phase), *map(_build_rich_entry, line.entries))
            for line in table.lines
        ),
        left=2,
        right=frozenset(table.implementations),
        title=table.title,
        frame=FRAMED,
    )


def _build_rich_entry(entry: TableCell) -> Text:
    style = STYLES[entry.mark] + (" bold" if entry.is_best else "")
    return Text(_format_entry(entry), style=style)


def _build_rich_footnotes(table: Table) -> list[RenderableType]:
    notes: list[RenderableType] = []
    if table.unexpected:
        notes.append(Text("Unexpected results", style="bold red"))
    for note in (*table.unexpected, *table.as_expected, *table.instabilities):
        style = "" if note.is_unexpected else "dim"
        notes.append(Text(f"[{note.number}] {note.label}: {note.reason}", style=style))
        if note.rerun:
            notes.append(UnwrappedLine(f"    rerun: {localize_command(note.rerun)}", "dim"))
    return [*notes, *(Text(remark, style="dim") for remark in table.remarks)]


def _format_markdown_footnotes(table: Table) -> list[str]:
    """Write footnotes as bullets: GitHub would renumber a numbered list."""

    def line(note: Footnote) -> str:
        text = escape_markdown(f"{note.label}: {note.reason}")
        return f"- [{note.number}] {text} {format_code_span(note.rerun)}".rstrip()

    unexpected = [line(note) for note in table.unexpected]
    heading = ["#### Unexpected results", "", *unexpected, ""] if unexpected else []
    return [*heading, *map(line, (*table.as_expected, *table.instabilities))]


def _format_entry(entry: TableCell) -> str:
    ratio = f" {entry.ratio:.2f}x" if entry.ratio and not entry.is_best else ""
    mark = f" {MARKS[entry.mark]}" if entry.mark else ""
    unexpected = f" {UNEXPECTED}" if entry.is_unexpected else ""
    return f"{entry.text}{ratio}{mark}{unexpected}"
