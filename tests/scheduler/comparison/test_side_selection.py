"""BASE and CANDIDATE as they are typed: which sweeps and rows they mean, and complaints."""

import pytest

from velodrome.scheduler.comparison.side_selection import (
    find_subjects,
    parse_side,
    select_rows,
    subtract_runs,
)
from velodrome.scheduler.errors import ConfigError

OLD, MIDDLE, NEW = (f"2026112{day}-010203-0000000{day}" for day in (1, 2, 3))
KNOWN = (NEW, MIDDLE, OLD)


@pytest.fixture
def rows_in(cell):
    held = {
        OLD: cell(OLD, framework_version="2.12.1"),
        MIDDLE: cell(MIDDLE, framework_version="2.13.0", framework="jax", variant="jit"),
        NEW: [
            *cell(NEW, framework_version="2.13.0"),
            *cell(NEW, framework="tensorflow", framework_version="2.21"),
        ],
    }
    return held.__getitem__


def selected(text: str, rows_in) -> tuple[tuple[str, ...], set[tuple[str, str]]]:
    ids, rows = select_rows(parse_side(text, "BASE"), KNOWN, rows_in)
    return ids, {(row.framework, row.framework_version) for row in rows}


@pytest.mark.parametrize(
    ("text", "sweeps", "which"),
    [
        ("last~1", (MIDDLE,), {("jax", "2.13.0")}),
        (f"{OLD} {NEW} framework=torch", (NEW, OLD), {("torch", "2.13.0"), ("torch", "2.12.1")}),
        ("* framework=torch", KNOWN, {("torch", "2.13.0"), ("torch", "2.12.1")}),
        ("framework=torch|jax", (NEW,), {("torch", "2.13.0")}),
        ("framework_version=2.12.*", (OLD,), {("torch", "2.12.1")}),
        ("framework=jax", (MIDDLE,), {("jax", "2.13.0")}),
        ("last framework!=torch", (NEW,), {("tensorflow", "2.21")}),
    ],
)
def test_sweeps_and_conditions_select_rows(text, sweeps, which, rows_in) -> None:
    assert selected(text, rows_in) == (sweeps, which)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "BASE: there is no sweep and no condition. Write it like last~1, or"),
        ("last framwork=torch", "BASE:1:6: no such field 'framwork'. Did you mean 'framework'?"),
        ("2026112", "BASE:1:1: '2026112' begins 20261123"),
        ("last torch", "BASE:1:6: there is no sweep 'torch'"),
        ("model=lenet|", "BASE:1:12: '|' is not a condition"),
        ("framework=neon", "BASE:1:1: no framework is 'neon'. There is: jax, tensorflow, torch."),
        ("last hostname=h7", "BASE:1:6: no hostname is 'h7'. There is: host1."),
        ("framework=jax variant=eager", "BASE: no result is 'framework=jax variant=eager'."),
        ("2025* framework=jax", "BASE:1:1: there is no sweep '2025*'."),
    ],
)
def test_an_invalid_side_is_reported_with_its_column(text, message, rows_in) -> None:
    with pytest.raises(ConfigError) as caught:
        selected(text, rows_in)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("base", "candidate", "found"),
    [
        ("last~1", "last", set()),
        ("variant=eager", "variant=compile", {"variant"}),
        ("variant=eager threads=1", "threads=1 variant=compile", {"variant"}),
        ("last variant=eager", "last", set()),
        ("node_type=a", "node_type!=a", {"node_type"}),
    ],
)
def test_the_subject_is_the_field_with_different_values_on_both_sides(
    base, candidate, found
) -> None:
    assert find_subjects(parse_side(base, "BASE"), parse_side(candidate, "CANDIDATE")) == found


def test_a_lost_and_repeated_task_counts_once(cell) -> None:
    lost = cell(OLD, status="lost")
    again = cell(OLD, attempt=2)
    _, rows = select_rows(parse_side("last", "BASE"), (OLD,), lambda sweep_id: [*lost, *again])
    assert [(row.status, row.attempt) for row in rows] == [("ok", 2)] * 5


def test_the_base_excludes_the_candidates_runs(rows_in) -> None:
    _, everything = select_rows(parse_side("*", "BASE"), KNOWN, rows_in)
    _, newest = select_rows(parse_side("last", "CANDIDATE"), KNOWN, rows_in)
    assert {row.sweep_id for row in subtract_runs(everything, newest)} == {OLD, MIDDLE}
