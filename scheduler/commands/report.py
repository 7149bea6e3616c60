"""`report`: the grid of a sweep in the terminal, as Markdown, CSV, JSON or a picture."""

import io
from enum import Enum
from pathlib import Path

from rich.console import Console, RenderableType

from velodrome.scheduler.cells import Block, Cell, Contestant, Course, gather
from velodrome.scheduler.commands.output import closing, console, print_json
from velodrome.scheduler.errors import ConfigError
from velodrome.scheduler.render import csv_text, markdown, rich_tables
from velodrome.scheduler.store import Store
from velodrome.scheduler.tables import Table, tabulate

PICTURE_WIDTH = 110


class Form(Enum):
    """How a report is written."""

    TERMINAL = "terminal"
    MARKDOWN = "markdown"
    CSV = "csv"
    JSON = "json"


def chosen(is_markdown: bool, is_csv: bool, is_json: bool) -> Form:  # noqa: FBT001 - three flags of the command line
    """The one form that was asked for; ConfigError for two."""
    flags = {Form.MARKDOWN: is_markdown, Form.CSV: is_csv, Form.JSON: is_json}
    asked = [form for form, flag in flags.items() if flag]
    if len(asked) > 1:
        names = " and ".join(f"--{form.value}" for form in asked)
        raise ConfigError("command line", f"{names} exclude each other", "Give one.")
    return asked[0] if asked else Form.TERMINAL


def report(results: Path, sweep_id: str, form: Form, picture: Path | None) -> None:
    """ConfigError if there are no results, or no such sweep."""
    store = Store.for_reading(results)
    chosen_id = store.resolve(sweep_id or "last")
    rows = store.read("tasks", chosen_id).to_pylist()
    if form is Form.JSON:
        print_json(rows)
        return
    gathered = gather(rows)
    if form is Form.CSV:
        print(csv_text(_flat(gathered)), end="")
        return
    tables = [tabulate(block, cells) for block, cells in gathered.items()]
    if form is Form.MARKDOWN:
        print(markdown(tables), end="")
        return
    show(tables)
    if picture is not None:
        draw(rich_tables(tables), picture, f"velodrome report --sweep {chosen_id}")
        closing(f"wrote {picture}")
    closing(f"sweep {chosen_id}: {len(rows)} rows in {results}; next: velodrome report --markdown")


def show(tables: list[Table]) -> None:
    console().print(rich_tables(tables))


def draw(shown: RenderableType, picture: Path, title: str) -> None:
    """The terminal's picture as SVG, as wide as it needs and no colour theme of the reader's."""
    screen = Console(record=True, width=PICTURE_WIDTH, file=io.StringIO(), highlight=False)
    screen.print(shown)
    picture.write_text(screen.export_svg(title=title))


def _flat(
    gathered: dict[Block, dict[tuple[Course, Contestant], Cell]],
) -> list[tuple[Block, Course, Contestant, Cell]]:
    return [
        (block, course, who, cell)
        for block, cells in gathered.items()
        for (course, who), cell in cells.items()
    ]
