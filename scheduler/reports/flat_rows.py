"""Rows as CSV and as a Markdown table: what every report is written with."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence

from velodrome.scheduler.reports.csv_escaping import escape_formula
from velodrome.scheduler.reports.markdown_text import escape_markdown


def csv_rows(rows: Sequence[Mapping[str, object]], columns: Sequence[str] = ()) -> str:
    """A header and a line a row, all of the same keys; None is empty.

    columns: of the header where there is no row.
    """
    names = [*rows[0]] if rows else [*columns]
    if not names:
        return ""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: escape_formula(value) for name, value in row.items()} for row in rows)
    return stream.getvalue()


def markdown_table(rows: Sequence[Mapping[str, str]], left: int) -> str:
    """The first `left` columns are aligned to the left. Empty without rows."""
    if not rows:
        return ""
    header = [*rows[0]]
    return "\n".join(markdown_rows(header, [list(row.values()) for row in rows], left)) + "\n"


def markdown_rows(header: Sequence[str], lines: Iterable[Sequence[str]], left: int) -> list[str]:
    """A table of which the first `left` columns are aligned to the left. Cells are plain text."""
    rule = ["---"] * left + ["---:"] * (len(header) - left)
    return [
        "| " + " | ".join(escape_markdown(cell).replace("|", "\\|") for cell in row) + " |"
        for row in (header, rule, *lines)
    ]
