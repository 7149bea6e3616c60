"""Rows that all have the same keys, as CSV and as a Markdown table."""

import csv
import io
from collections.abc import Mapping, Sequence

from velodrome.scheduler.reports.render import markdown_rows


def csv_rows(rows: Sequence[Mapping[str, object]]) -> str:
    """A header and a line a row; None is empty. Empty without rows."""
    if not rows:
        return ""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def markdown_table(rows: Sequence[Mapping[str, str]], left: int) -> str:
    """The first `left` columns are aligned to the left."""
    header = [*rows[0]] if rows else []
    return "\n".join(markdown_rows(header, [list(row.values()) for row in rows], left)) + "\n"
