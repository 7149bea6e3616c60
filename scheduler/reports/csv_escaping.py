"""Cells of a CSV file that no spreadsheet takes for a formula.

A program that opens CSV computes what begins with one of a few characters, and a formula can send
the whole sheet elsewhere (OWASP, CSV Injection). An apostrophe in front makes it text.
"""

_FORMULA = ("=", "+", "-", "@")


def escape_formula(value: object) -> object:
    """Numbers stay numbers; None is empty."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
