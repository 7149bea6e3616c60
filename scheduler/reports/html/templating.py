"""Templates, and data in a page: nothing in either can become an element or a script of its own."""

import json
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

_LIVE = {ord(character): f"\\u{ord(character):04x}" for character in "<>&'\u2028\u2029"}


@cache
def templates(folder: Path) -> Environment:
    """What they are given is text unless marked as HTML; what they are not given is an error."""
    return Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def embedded(value: object) -> str:
    """JSON that stands in a script element and cannot end it. ValueError for NaN and infinity."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.translate(_LIVE)
