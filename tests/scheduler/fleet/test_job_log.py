"""A job's log in pieces of any size, with breaks."""

from velodrome.scheduler.fleet.jobs import LogLines


def test_a_line_is_told_once_and_whole_however_it_comes() -> None:
    told: list[str] = []
    lines = LogLines(told.append)
    for piece in ("one\ntw", "o", "\n\nthree"):
        lines.take(piece)
    assert told == ["one", "two", ""]
    lines.end()
    assert told == ["one", "two", "", "three"]


def test_after_a_break_nothing_is_told_twice_and_nothing_left_out() -> None:
    told: list[str] = []
    lines = LogLines(told.append)
    lines.take("one\ntwo\nthr")
    lines.restart()
    for piece in ("on", "e\ntwo\n", "three\n", "four\n"):
        lines.take(piece)
    lines.end()
    assert told == ["one", "two", "three", "four"]
