"""Rows that all have the same keys, as CSV and as a Markdown table."""

import csv
import io
from collections.abc import Mapping, Sequence

from velodrome.scheduler.reports.render import markdown_rows
from velodrome.scheduler.reports.spreadsheet import inert


def csv_rows(rows: Sequence[Mapping[str, object]], columns: Sequence[str] = ()) -> str:
    """A header and a line a row; None is empty. columns: of the header where there is no row."""
    names = [*rows[0]] if rows else [*columns]
    if not names:
        return ""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: inert(value) for name, value in row.items()} for row in rows)
    return stream.getvalue()


def markdown_table(rows: Sequence[Mapping[str, str]], left: int) -> str:
    """The first `left` columns are aligned to the left. Empty without rows."""
    if not rows:
        return ""
    header = [*rows[0]]
    return "\n".join(markdown_rows(header, [list(row.values()) for row in rows], left)) + "\n"
