"""Rendering of a comparison for a terminal and as Markdown."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from velodrome.agents.safe_text import strip_controls
from velodrome.scheduler.comparison.cell_names import CellNames, name_cells
from velodrome.scheduler.comparison.comparison_rows import table_rows
from velodrome.scheduler.comparison.outcome import ComparisonOutcome
from velodrome.scheduler.comparison.verdicts import TimeComparison
from velodrome.scheduler.comparison.wording import (
    Section,
    build_heading,
    build_legend,
    build_sections,
    summarize,
)
from velodrome.scheduler.next_commands import localize_command
from velodrome.scheduler.reports.cell_work import GridUnit
from velodrome.scheduler.reports.csv_markdown import escape_markdown, format_code_span, to_markdown
from velodrome.scheduler.reports.terminal_tables import UnwrappedLine, WideTable
from velodrome.scheduler.statistics.ratio_tests import Verdict

STYLES = {Verdict.SLOWER: "red", Verdict.FASTER: "green", Verdict.UNDECIDED: "dim"}
LEFT = 2  # columns of words
MOST_UNDECIDED = 100  # lines of the table; what moved is never cut


def render_rich(outcome: ComparisonOutcome, unit: GridUnit = GridUnit.TIME) -> RenderableType:
    parts: list[RenderableType] = [Text(line, style="bold") for line in build_heading(outcome)]
    shown, hidden = _select_shown(outcome)
    parts += [Text(""), _build_table(shown, name_cells(outcome), unit)]
    parts += [Text(f"{hidden} more undecided: --csv has them all", style="dim")] if hidden else []
    for section in build_sections(outcome):
        parts += [Text(""), *_render_section(section)]
    return Group(
        *parts, Text(""), Text(build_legend(outcome, unit), style="dim"), Text(summarize(outcome))
    )


def render_markdown(outcome: ComparisonOutcome, unit: GridUnit = GridUnit.TIME) -> str:
    """Render GitHub Markdown, for an issue."""
    shown, hidden = _select_shown(outcome)
    rows = table_rows(shown, name_cells(outcome), unit)
    parts = ["\n".join(f"- {escape_markdown(line)}" for line in build_heading(outcome))]
    parts += [to_markdown(rows, LEFT).rstrip()]
    parts += [f"{hidden} more undecided."] if hidden else []
    for section in build_sections(outcome):
        entries = [
            f"- {escape_markdown(entry.text)} {format_code_span(entry.command)}".rstrip()
            for entry in section.entries
        ]
        parts.append("\n".join([f"#### {section.title}", "", *entries]))
    return (
        "\n\n".join(
            filter(
                None,
                [
                    *parts,
                    escape_markdown(build_legend(outcome, unit)),
                    escape_markdown(summarize(outcome)),
                ],
            )
        )
        + "\n"
    )


def _select_shown(outcome: ComparisonOutcome) -> tuple[Sequence[TimeComparison], int]:
    """Return the rows of the table, and the number of undecided ones left out."""
    moved = sum(time.has_moved for time in outcome.times)
    shown = outcome.times[: moved + MOST_UNDECIDED]
    return shown, len(outcome.times) - len(shown)


def _build_table(times: Sequence[TimeComparison], names: CellNames, unit: GridUnit) -> WideTable:
    rows = table_rows(times, names, unit)
    columns = tuple(rows[0]) if rows else ()
    cells = (
        tuple(Text(strip_controls(text), STYLES[time.verdict]) for text in row.values())
        for time, row in zip(times, rows, strict=True)
    )
    return WideTable(columns, tuple(cells), LEFT, frozenset(columns[LEFT:]))


def _render_section(section: Section) -> list[RenderableType]:
    lines: list[RenderableType] = [Text(section.title, style="bold")]
    for entry in section.entries:
        lines.append(Text(f"  {strip_controls(entry.text)}"))
        if entry.command:
            lines.append(UnwrappedLine(f"    rerun: {localize_command(entry.command)}", "dim"))
    return lines
