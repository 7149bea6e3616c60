"""Lists of names that would be too long for a line."""

from collections.abc import Sequence

FEW = 3


def shorten_names(names: Sequence[str]) -> str:
    """Format as `a, b, c`, or `a, b, c and 12 more`."""
    rest = f" and {len(names) - FEW} more" if len(names) > FEW else ""
    return ", ".join(names[:FEW]) + rest
