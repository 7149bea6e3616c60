"""A job's log in pieces of any size, with breaks."""

from velodrome.scheduler.fleet.jobs import LogLines


def test_each_line_is_printed_once_and_whole() -> None:
    printed: list[str] = []
    lines = LogLines(printed.append)
    for piece in ("one\ntw", "o", "\n\nthree"):
        lines.take(piece)
    assert printed == ["one", "two", ""]
    lines.end()
    assert printed == ["one", "two", "", "three"]


def test_after_a_break_no_line_is_repeated_or_missing() -> None:
    printed: list[str] = []
    lines = LogLines(printed.append)
    lines.take("one\ntwo\nthr")
    lines.expect_restart()
    for piece in ("on", "e\ntwo\n", "three\n", "four\n"):
        lines.take(piece)
    lines.end()
    assert printed == ["one", "two", "three", "four"]
