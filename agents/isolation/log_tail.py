"""The end of what a worker printed, as text that is safe to show and short enough to keep."""

import re
from pathlib import Path

TAIL_BYTES = 8192

# ECMA-48: control sequences (CSI), strings (OSC, DCS, ...) up to their end, then the short ones.
_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[PX\]^_].*?(?:\x1b\\|\x07|$)|\x1b[ -/]*[0-~]", re.DOTALL
)
# Halves of surrogate pairs, as of file names that are no UTF-8, cannot be printed at all.
_CONTROLS = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029\u202a-\u202e\u2066-\u2069]"
)


def log_tail(path: Path) -> str:
    """Empty if there is no log, or nothing in it."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - TAIL_BYTES))
            return harmless(file.read().decode(errors="replace"))
    except OSError:
        return ""


def harmless(text: str) -> str:
    """Without escape sequences, control characters, and lines that were written over."""
    lines = map(_last_shown, _ESCAPES.sub("", text).split("\n"))
    return _CONTROLS.sub("", "\n".join(lines)).strip()


def _last_shown(line: str) -> str:
    """What it showed when it was written over for the last time, as progress bars do.

    Not by a regular expression: text of megabytes without a line end would take it hours.
    """
    return line.rstrip("\r").rpartition("\r")[2]


def one_line(text: str, longest: int) -> str:
    """harmless, without line ends, cut to so many characters."""
    return " ".join(harmless(text).split())[:longest]


def without_controls(text: str) -> str:
    """A text that may hold others' words, its spaces and lines as they are, for a terminal."""
    return _CONTROLS.sub("", _ESCAPES.sub("", text))
