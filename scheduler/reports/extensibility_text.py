"""The extensibility grid as Rich tables, Markdown and flat rows."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.text import Text

from velodrome.scheduler.next_commands import localize_command
from velodrome.scheduler.plans.expected_outcomes import AGREED
from velodrome.scheduler.reports.csv_markdown import (
    escape_markdown,
    format_code_span,
    to_markdown_rows,
)
from velodrome.scheduler.reports.extensibility import COMPOSED, ProbeAnswer, ProbeGrid, ProbeOutcome
from velodrome.scheduler.reports.render import UNEXPECTED
from velodrome.scheduler.reports.terminal_tables import FRAMED, UnwrappedLine, WideTable

STYLES = {"agreed, partly": "yellow", AGREED: "green", COMPOSED: "yellow", "unsupported": "dim"}
SUMS = ("own + composed, of", "largest gradient error")
LEGEND = (
    "agreed: verified with the framework's own operation · composed: verified, but the adapter "
    "composes it of other operations · partly: other variants differ · ! unexpected"
)


@dataclass(frozen=True)
class _GridText:
    """A grid's text per place, and its footnotes."""

    texts: dict[tuple[str, str], str]
    notes: tuple[tuple[str, str], ...]  # evidence, rerun command


def render_grids(grids: Sequence[ProbeGrid]) -> RenderableType:
    parts: list[RenderableType] = []
    for grid in grids:
        text = _format_grid(grid)
        parts.append(_build_rich(grid, text))
        for evidence, rerun in text.notes:
            parts.append(Text(evidence))
            if rerun:
                parts.append(UnwrappedLine(f"    rerun: {localize_command(rerun)}", "dim"))
        parts.append(Text(""))
    return Group(*parts, Text(LEGEND, style="dim"))


def render_markdown_grids(grids: Sequence[ProbeGrid]) -> str:
    parts = []
    for grid in grids:
        text = _format_grid(grid)
        header = ["probe", *grid.frameworks]
        lines = [[name, *cells] for name, cells in _build_lines(grid, text)]
        notes = [
            f"- {escape_markdown(evidence)} {format_code_span(rerun)}".rstrip()
            for evidence, rerun in text.notes
        ]
        table = to_markdown_rows(header, lines, len(header))
        parts.append(
            "\n".join([f"### {escape_markdown(_format_title(grid))}", "", *table, "", *notes])
        )
    return "\n\n".join([*parts, LEGEND]) + "\n"


def build_flat_rows(found: Sequence[ProbeOutcome]) -> list[dict[str, object]]:
    """Build a flat row per probe and variant, for JSON and CSV."""
    return [
        {
            "probe": outcome.probe,
            "framework": outcome.impl.framework,
            "variant": outcome.impl.variant,
            "device": outcome.device,
            "outcome": outcome.word,
            "evidence": outcome.evidence,
            "gradient_error": outcome.gradient_error,
            "unexpected": outcome.is_unexpected,
            "rerun": outcome.rerun,
        }
        for outcome in found
    ]


def _format_title(grid: ProbeGrid) -> str:
    return f"operations that each framework supports, {grid.device}"


def _format_grid(grid: ProbeGrid) -> _GridText:
    texts: dict[tuple[str, str], str] = {}
    notes: list[tuple[str, str]] = []
    keys = ((probe, framework) for probe in grid.probes for framework in grid.frameworks)
    for key in keys:
        place = grid.places.get(key)
        if place is None:
            continue
        own = () if place.default.word == AGREED else (place.default,)
        numbers = []
        for number, outcome in enumerate((*own, *place.others), len(notes) + 1):
            numbers.append(f"[{number}]")
            notes.append((f"[{number}] {_format_evidence(outcome)}", outcome.rerun))
        texts[key] = " ".join([_format_word(place), *numbers])
    return _GridText(texts, tuple(notes))


def _format_word(place: ProbeAnswer) -> str:
    """Return the default variant's outcome; `agreed, partly` if another variant differs."""
    partly = ", partly" if place.default.is_agreed and place.others else ""
    is_unexpected = any(outcome.is_unexpected for outcome in (place.default, *place.others))
    return f"{place.default.word}{partly}{f' {UNEXPECTED}' if is_unexpected else ''}"


def _format_evidence(outcome: ProbeOutcome) -> str:
    error = (
        "" if outcome.gradient_error is None else f", gradient error {outcome.gradient_error:.0e}"
    )
    evidence = (
        outcome.evidence if outcome.word == COMPOSED else f"{outcome.word}: {outcome.evidence}"
    )
    return f"{outcome.impl.label}, {outcome.probe}: {evidence.rstrip(': ')}{error}"


def _build_lines(grid: ProbeGrid, text: _GridText) -> list[tuple[str, list[str]]]:
    lines = [
        (probe, [text.texts.get((probe, name), "not in this sweep") for name in grid.frameworks])
        for probe in grid.probes
    ]
    sums = [_format_counts(grid, name) for name in grid.frameworks]
    errors = [_format_error(grid, name) for name in grid.frameworks]
    return [*lines, *zip(SUMS, (sums, errors), strict=True)]


def _format_counts(grid: ProbeGrid, framework: str) -> str:
    own, composed, total = grid.count_outcomes(framework)
    return f"{own} + {composed} of {total}"


def _format_error(grid: ProbeGrid, framework: str) -> str:
    """Format the largest gradient error of the probes that agreed."""
    errors = [
        place.default.gradient_error
        for (_, name), place in grid.places.items()
        if name == framework
        and place.default.is_agreed
        and place.default.gradient_error is not None
    ]
    return f"{max(errors):.0e}" if errors else "none"


def _build_rich(grid: ProbeGrid, text: _GridText) -> WideTable:
    return WideTable(
        names=("probe", *grid.frameworks),
        rows=tuple(
            (
                Text(name),
                *(Text(cell, "" if name in SUMS else _choose_style(cell)) for cell in cells),
            )
            for name, cells in _build_lines(grid, text)
        ),
        title=_format_title(grid),
        frame=FRAMED,
    )


def _choose_style(cell: str) -> str:
    """Choose the colour: red for every failure."""
    styles = {**STYLES, "not in this sweep": "dim"}
    return next((style for word, style in styles.items() if cell.startswith(word)), "red")
