"""Rows as objects: their attributes are the schema's columns; an unread column is an error."""

from typing import get_type_hints

import pyarrow as pa
import pytest
from made_rows import task_row_with

from velodrome.agents.measurement import Status
from velodrome.scheduler.results.detail_rows import NodeRow, ReadingRow
from velodrome.scheduler.results.row_conversion import Note, RawText, Struct
from velodrome.scheduler.results.rows import to_table
from velodrome.scheduler.results.schema import TABLES
from velodrome.scheduler.results.typed_rows import CellKey, TaskRow, task_rows

EVIL = "\x1b[2Jboom\r\nsecond line"


def kinds_of(column: pa.DataType) -> set[object]:
    """The types that an attribute of such a column may have."""
    if pa.types.is_list(column):
        if pa.types.is_floating(column.value_type):
            return {tuple[float | None, ...]}
        if pa.types.is_integer(column.value_type):
            return {tuple[int | None, ...]}
        is_struct = pa.types.is_struct(column.value_type)
        return {tuple[Struct, ...]} if is_struct else {tuple[str, ...], tuple[Note, ...]}
    for is_of, kinds in (
        (pa.types.is_string, {str, RawText, Status}),
        (pa.types.is_integer, {int, int | None}),
        (pa.types.is_floating, {float | None}),
        (pa.types.is_boolean, {bool | None}),
    ):
        if is_of(column):
            return kinds
    return {get_type_hints(TaskRow)["started_at"]}


@pytest.mark.parametrize(("kind", "table"), [(TaskRow, "tasks"), (NodeRow, "nodes")])
def test_attributes_are_the_columns_of_the_schema_in_their_order(kind, table) -> None:
    assert [*get_type_hints(kind)] == TABLES[table].names


@pytest.mark.parametrize(
    ("kind", "table"), [(TaskRow, "tasks"), (NodeRow, "nodes"), (ReadingRow, "utilization")]
)
def test_attributes_have_the_types_of_their_columns(kind, table) -> None:
    for name, hint in get_type_hints(kind).items():
        assert hint in kinds_of(TABLES[table].field(name).type), name


def test_a_column_that_was_not_read_is_an_error_that_names_it() -> None:
    (row,) = task_rows(to_table("tasks", [{"task_id": "a", "status": "ok"}]).select(["task_id"]))
    assert row.task_id == "a"
    with pytest.raises(AttributeError, match="the column gpu_model was not read"):
        _ = row.gpu_model


def test_a_row_cannot_be_changed() -> None:
    row = task_row_with()
    with pytest.raises(AttributeError):
        row.model = "lstm"


def test_text_is_safe_to_show_and_null_text_is_empty() -> None:
    row = task_row_with(reason=EVIL, notes=[EVIL], gpu_model=None, log_tail="one\ntwo")
    assert row.reason == row.notes[0] == "boom second line"
    assert (row.gpu_model, row.gpu_uuids, row.gpu_count, row.status) == ("", (), None, Status.OK)
    assert row.log_tail == "one\ntwo"


def test_cell_keys_are_ordered_and_treat_a_missing_gpu_count_as_zero() -> None:
    keys = [CellKey.of(task_row_with(model=name)) for name in ("lstm", "lenet")]
    assert sorted(keys)[0].model == "lenet"
    assert keys[0] == CellKey.of(task_row_with(model="lstm", gpu_count=0))


def test_notes_of_earlier_versions_get_the_current_prefix() -> None:
    row = task_row_with(notes=["by hand: Lrn of sums", "composed: Gru in a scan", "not by hand: x"])
    assert row.notes == ("composed: Lrn of sums", "composed: Gru in a scan", "not by hand: x")
