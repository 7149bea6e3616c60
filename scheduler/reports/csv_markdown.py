"""CSV and Markdown tables whose text cannot act as a formula, as HTML, a link or a picture."""

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence

# A program that opens CSV computes text that begins with one of these; a formula can send the whole
# sheet elsewhere (OWASP, CSV Injection).
_FORMULA = ("=", "+", "-", "@")
_SPECIAL = re.compile(r"[\\`]")
_TICKS = re.compile(r"`+")


def to_csv(rows: Sequence[Mapping[str, object]], columns: Sequence[str] = ()) -> str:
    """Write a header and one line per row, all with the same keys; None is empty.

    columns: of the header if there is no row.
    """
    names = [*rows[0]] if rows else [*columns]
    if not names:
        return ""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: escape_formula(value) for name, value in row.items()} for row in rows)
    return stream.getvalue()


def escape_formula(value: object) -> object:
    """Prefix text that a spreadsheet takes for a formula with an apostrophe; leave numbers."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def to_markdown(rows: Sequence[Mapping[str, str]], left: int) -> str:
    """Write a table; the first `left` columns are aligned to the left. Empty without rows."""
    if not rows:
        return ""
    header = [*rows[0]]
    return "\n".join(to_markdown_rows(header, [list(row.values()) for row in rows], left)) + "\n"


def to_markdown_rows(header: Sequence[str], lines: Iterable[Sequence[str]], left: int) -> list[str]:
    """Write the lines of a table whose cells are plain text; the first `left` align left."""
    rule = ["---"] * left + ["---:"] * (len(header) - left)
    return [
        "| " + " | ".join(escape_markdown(cell).replace("|", "\\|") for cell in row) + " |"
        for row in (header, rule, *lines)
    ]


def escape_markdown(text: str) -> str:
    """Escape one line of text. Emphasis stays: it is harmless, and names are full of `_`."""
    plain = _SPECIAL.sub(r"\\\g<0>", text).replace("&", "&amp;").replace("<", "&lt;")
    return plain.replace("](", "]\\(")


def format_code_span(text: str) -> str:
    """Format one line as code; empty for no text. The fence is longer than any run of ticks."""
    if not text:
        return ""
    fence = "`" * (1 + max((len(run) for run in _TICKS.findall(text)), default=0))
    gap = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{gap}{text}{gap}{fence}"
