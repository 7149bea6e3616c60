"""Other people's words within Markdown: shown as they are, never as HTML, a link or a picture."""

import re

_LIVE = re.compile(r"[\\`]")
_TICKS = re.compile(r"`+")


def escape_markdown(text: str) -> str:
    """One line of text. Emphasis is left alone: it does no harm, and names are full of `_`."""
    plain = _LIVE.sub(r"\\\g<0>", text).replace("&", "&amp;").replace("<", "&lt;")
    return plain.replace("](", "]\\(")


def format_code_span(text: str) -> str:
    """A code span of one line; empty for no text. Its fence is longer than any run of ticks."""
    if not text:
        return ""
    fence = "`" * (1 + max((len(run) for run in _TICKS.findall(text)), default=0))
    gap = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{gap}{text}{gap}{fence}"
