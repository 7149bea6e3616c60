"""Text from outside (system, frameworks, logs) made safe for tables, files and terminals."""

import os
import re
from pathlib import Path

TAIL_BYTES = 8192

# ECMA-48: control sequences (CSI), strings (OSC, DCS, ...) up to their end, then the short ones.
_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[PX\]^_].*?(?:\x1b\\|\x07|$)|\x1b[ -/]*[0-~]", re.DOTALL
)
# Surrogate halves, as in file names that are not UTF-8, cannot be printed.
_CONTROLS = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029\u202a-\u202e\u2066-\u2069]"
)


def read_log_tail(path: Path) -> str:
    """Return the sanitized last TAIL_BYTES of a log; empty if the file cannot be read."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - TAIL_BYTES))
            return sanitize(file.read().decode(errors="replace"))
    except OSError:
        return ""


def sanitize(text: str) -> str:
    """Remove escape sequences, control characters and overwritten lines."""
    lines = map(_last_overwrite, _ESCAPES.sub("", text).split("\n"))
    return _CONTROLS.sub("", "\n".join(lines)).strip()


def _last_overwrite(line: str) -> str:
    """Return the text after the last carriage return, as progress bars leave it.

    No regular expression: it takes hours on megabytes of text without a line end.
    """
    return line.rstrip("\r").rpartition("\r")[2]


def sanitize_line(text: str, longest: int) -> str:
    """Sanitize a text, join its lines and cut it to `longest` characters."""
    return " ".join(sanitize(text).split())[:longest]


def strip_controls(text: str) -> str:
    """Remove escape sequences and control characters; keep spaces and line ends."""
    return _CONTROLS.sub("", _ESCAPES.sub("", text))


def escape_undecodable(text: str) -> str:
    r"""Write bytes that are not UTF-8 (surrogate halves in Python) as `\xff`.

    Escaped, not removed: two names that differ only by such bytes stay different.
    """
    try:
        return os.fsencode(text).decode("utf-8", errors="backslashreplace")
    except UnicodeEncodeError:  # halves that stand for no byte
        return text.encode(errors="backslashreplace").decode()
