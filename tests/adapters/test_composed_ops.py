from velodrome.adapters.composed_ops import format_note, list_composed_kinds
from velodrome.adapters.models import layers as kinds


def test_a_note_names_the_composed_operation_and_its_parts() -> None:
    assert format_note(kinds.Conv, "in groups, split") == "composed: Conv in groups, split"


def test_composed_operations_are_read_from_a_rows_notes_once_each() -> None:
    notes = (
        "no TF32",
        format_note(kinds.Lrn, "of sums"),
        format_note(kinds.Gru, ""),
        "composed: Lrn twice",
    )
    assert list_composed_kinds(notes) == ("Lrn", "Gru")


def test_a_similar_note_names_no_composed_operation() -> None:
    assert list_composed_kinds(("the loop is composed: Lstm",)) == ()
