"""Bytes of the system that are no text become text, and a row that holds them can be kept."""

import os

import pytest

from velodrome.agents.safe_text import escape_undecodable
from velodrome.scheduler.results.rows import to_table


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (b"plain", "plain"),
        ("caf\u00e9".encode(), "caf\u00e9"),
        (b"caf\xe9", r"caf\xe9"),
        (b"\xff\xfe", r"\xff\xfe"),
    ],
)
def test_bytes_that_are_not_utf8_are_escaped(given: bytes, expected: str) -> None:
    assert escape_undecodable(os.fsdecode(given)) == expected


def test_a_lone_surrogate_that_encodes_no_byte_is_escaped_too() -> None:
    assert escape_undecodable("a\ud800") == r"a\ud800"


def test_a_row_that_holds_a_path_of_other_bytes_is_kept() -> None:
    table = to_table("tasks", [{"reason": os.fsdecode(b"no /tmp/h\xff"), "notes": ["a\udcff"]}])
    assert table["reason"].to_pylist() == [r"no /tmp/h\xff"]
    assert table["notes"].to_pylist() == [[r"a\xff"]]
