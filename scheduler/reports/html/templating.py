"""Jinja templates and embedded JSON, escaped so that data cannot become an element or a script."""

import json
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

_LIVE = {ord(character): f"\\u{ord(character):04x}" for character in "<>&'\u2028\u2029"}


@cache
def load_templates(folder: Path) -> Environment:
    """Load templates that escape every value not marked as HTML and fail on a missing value."""
    return Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def embed_json(value: object) -> str:
    """Write JSON that cannot end its script element. ValueError for NaN and infinity."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.translate(_LIVE)
