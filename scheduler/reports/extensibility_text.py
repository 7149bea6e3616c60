"""The extensibility grid as Rich renderables, Markdown and flat rows."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.text import Text

from velodrome.scheduler.next_commands import localize_command
from velodrome.scheduler.plans.expectations import AGREED
from velodrome.scheduler.reports.extensibility import BY_HAND, ProbeAnswer, ProbeGrid, ProbeOutcome
from velodrome.scheduler.reports.flat_rows import markdown_rows
from velodrome.scheduler.reports.markdown_text import escape_markdown, format_code_span
from velodrome.scheduler.reports.render import SURPRISE
from velodrome.scheduler.reports.unwrapped_lines import UnwrappedLine
from velodrome.scheduler.reports.wide_tables import FRAMED, WideTable

STYLES = {"agreed, partly": "yellow", AGREED: "green", BY_HAND: "yellow", "unsupported": "dim"}
SUMS = ("own + by hand, of", "largest gradient error")
LEGEND = (
    "agreed: by the framework's own operation, loss and every gradient proven · by hand: proven, "
    "but put together by its adapter · ! not as expected"
)


@dataclass(frozen=True)
class _Shown:
    """A grid with its footnotes: the text per place, and lines below."""

    texts: dict[tuple[str, str], str]
    notes: tuple[tuple[str, str], ...]  # evidence, and the command that shows it again


def render_grids(grids: Sequence[ProbeGrid]) -> RenderableType:
    parts: list[RenderableType] = []
    for grid in grids:
        shown = _shown(grid)
        parts.append(_rich_grid(grid, shown))
        for evidence, rerun in shown.notes:
            parts.append(Text(evidence))
            if rerun:
                parts.append(UnwrappedLine(f"    again: {localize_command(rerun)}", "dim"))
        parts.append(Text(""))
    return Group(*parts, Text(LEGEND, style="dim"))


def render_markdown_grids(grids: Sequence[ProbeGrid]) -> str:
    parts = []
    for grid in grids:
        shown = _shown(grid)
        header = ["probe", *grid.frameworks]
        lines = [[name, *cells] for name, cells in _lines(grid, shown)]
        notes = [
            f"- {escape_markdown(evidence)} {format_code_span(rerun)}".rstrip()
            for evidence, rerun in shown.notes
        ]
        table = markdown_rows(header, lines, len(header))
        parts.append("\n".join([f"### {escape_markdown(_title(grid))}", "", *table, "", *notes]))
    return "\n\n".join([*parts, LEGEND]) + "\n"


def flat(found: Sequence[ProbeOutcome]) -> list[dict[str, object]]:
    """One row per probe and variant, for JSON and CSV."""
    return [
        {
            "probe": outcome.probe,
            "framework": outcome.impl.framework,
            "variant": outcome.impl.variant,
            "device": outcome.device,
            "outcome": outcome.word,
            "evidence": outcome.evidence,
            "gradient_error": outcome.gradient_error,
            "unexpected": outcome.is_surprise,
            "rerun": outcome.rerun,
        }
        for outcome in found
    ]


def _title(grid: ProbeGrid) -> str:
    return f"what each framework can express, {grid.device}"


def _shown(grid: ProbeGrid) -> _Shown:
    texts: dict[tuple[str, str], str] = {}
    notes: list[tuple[str, str]] = []
    keys = ((probe, framework) for probe in grid.probes for framework in grid.frameworks)
    for key in keys:
        place = grid.places.get(key)
        if place is None:
            continue
        own = () if place.told.word == AGREED else (place.told,)
        numbers = []
        for number, outcome in enumerate((*own, *place.others), len(notes) + 1):
            numbers.append(f"[{number}]")
            notes.append((f"[{number}] {_evidence(outcome)}", outcome.rerun))
        texts[key] = " ".join([_word(place), *numbers])
    return _Shown(texts, tuple(notes))


def _word(place: ProbeAnswer) -> str:
    """Of the default variant; `agreed, partly` where another variant does not do what it does."""
    partly = ", partly" if place.told.is_agreed and place.others else ""
    is_surprise = any(one.is_surprise for one in (place.told, *place.others))
    return f"{place.told.word}{partly}{f' {SURPRISE}' if is_surprise else ''}"


def _evidence(outcome: ProbeOutcome) -> str:
    error = (
        "" if outcome.gradient_error is None else f", gradient error {outcome.gradient_error:.0e}"
    )
    told = outcome.evidence if outcome.word == BY_HAND else f"{outcome.word}: {outcome.evidence}"
    return f"{outcome.impl.label}, {outcome.probe}: {told.rstrip(': ')}{error}"


def _lines(grid: ProbeGrid, shown: _Shown) -> list[tuple[str, list[str]]]:
    lines = [
        (
            probe,
            [shown.texts.get((probe, name), "not in this sweep") for name in grid.frameworks],
        )
        for probe in grid.probes
    ]
    sums = [_counts(grid, name) for name in grid.frameworks]
    errors = [_largest_error(grid, name) for name in grid.frameworks]
    return [*lines, *zip(SUMS, (sums, errors), strict=True)]


def _counts(grid: ProbeGrid, framework: str) -> str:
    own, by_hand, total = grid.counts(framework)
    return f"{own} + {by_hand} of {total}"


def _largest_error(grid: ProbeGrid, framework: str) -> str:
    """Of what agreed."""
    errors = [
        place.told.gradient_error
        for (_, name), place in grid.places.items()
        if name == framework and place.told.is_agreed and place.told.gradient_error is not None
    ]
    return f"{max(errors):.0e}" if errors else "none"


def _rich_grid(grid: ProbeGrid, shown: _Shown) -> WideTable:
    return WideTable(
        names=("probe", *grid.frameworks),
        rows=tuple(
            (Text(name), *(Text(cell, "" if name in SUMS else _style(cell)) for cell in cells))
            for name, cells in _lines(grid, shown)
        ),
        title=_title(grid),
        frame=FRAMED,
    )


def _style(cell: str) -> str:
    """What is no known outcome went wrong: red."""
    known = {**STYLES, "not in this sweep": "dim"}
    return next((style for word, style in known.items() if cell.startswith(word)), "red")
