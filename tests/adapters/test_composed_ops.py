from velodrome.adapters.composed_ops import by_hand, kinds_by_hand
from velodrome.adapters.models import layers as kinds


def test_a_note_says_which_kind_is_written_by_hand_and_how() -> None:
    assert by_hand(kinds.Conv, "in groups, split") == "by hand: Conv in groups, split"


def test_the_kinds_are_read_back_from_a_rows_notes_once_each() -> None:
    notes = ("no TF32", by_hand(kinds.Lrn, "of sums"), by_hand(kinds.Gru, ""), "by hand: Lrn twice")
    assert kinds_by_hand(notes) == ("Lrn", "Gru")


def test_a_note_that_only_speaks_of_hands_tells_no_kind() -> None:
    assert kinds_by_hand(("the loop is written by hand: Lstm",)) == ()
