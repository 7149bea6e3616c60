"""Conversion of untrusted values to one line of printable text."""

from functools import lru_cache

from velodrome.agents.safe_text import sanitize

LONGEST_NAME = 200  # characters


def in_one_line(value: object) -> str:
    """Drop line ends, escape sequences and control characters; empty for None."""
    text = str(value or "")
    return _names(text) if len(text) <= LONGEST_NAME else _one_line(text)


def _one_line(text: str) -> str:
    return " ".join(sanitize(text).split())


# 100,000 rows name the same few frameworks, models and nodes over and over.
_names = lru_cache(maxsize=2**14)(_one_line)
