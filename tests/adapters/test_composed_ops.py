from velodrome.adapters.composed_ops import format_note, list_composed_kinds
from velodrome.adapters.models import layers as kinds


def test_a_note_says_which_kind_is_written_by_hand_and_how() -> None:
    assert format_note(kinds.Conv, "in groups, split") == "by hand: Conv in groups, split"


def test_the_kinds_are_read_back_from_a_rows_notes_once_each() -> None:
    notes = (
        "no TF32",
        format_note(kinds.Lrn, "of sums"),
        format_note(kinds.Gru, ""),
        "by hand: Lrn twice",
    )
    assert list_composed_kinds(notes) == ("Lrn", "Gru")


def test_a_note_that_only_speaks_of_hands_tells_no_kind() -> None:
    assert list_composed_kinds(("the loop is written by hand: Lstm",)) == ()
