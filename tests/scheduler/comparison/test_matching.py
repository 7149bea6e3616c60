"""Matching of cells: pairs, and cells refused with the field that differs."""

import pytest

from velodrome.scheduler.comparison.fingerprints import CellRules, Mismatch
from velodrome.scheduler.comparison.matching import match_cells
from velodrome.scheduler.errors import ConfigError

FREE = CellRules()


def test_cells_with_equal_fingerprints_match_whatever_their_version(cell) -> None:
    found = match_cells(
        cell(), cell(framework_version="3", environment_hash="x", node_id="n2"), FREE
    )
    assert [(len(pair.base), len(pair.candidate)) for pair in found.pairs] == [(5, 5)]
    assert not (found.refused or found.vanished or found.appeared)


@pytest.mark.parametrize(
    ("field", "base", "candidate"),
    [
        ("gpu_name", "A100-SXM4-40GB, T4", "NVIDIA A100-SXM4-40GB, NVIDIA T4"),  # driver 465
        ("gpu_model", None, "A100"),  # it was asked for by name since
    ],
)
def test_the_same_gpu_under_another_name_matches(cell, field, base, candidate) -> None:
    found = match_cells(cell(**{field: base}), cell(**{field: candidate}), FREE)
    assert len(found.pairs) == 1
    assert not (found.refused or found.vanished or found.appeared)


@pytest.mark.parametrize(
    ("field", "base", "candidate"),
    [
        ("node_type", "t1", "t2"),
        ("cpu_model", "Some CPU", "Another"),
        ("gpu_name", "H100", "H200"),
        ("gpu_count", 1, 2),
        ("gpu_model", "A100", "H100"),
        ("threads", 1, 2),
        ("dtype", "float32", "float64"),
        ("seed", 0, 1),
        ("exclusive", True, False),
        ("parameters", 5, 6),
        ("model_hash", "aa", "bb"),
    ],
)
def test_a_different_fingerprint_is_refused_with_the_field(cell, field, base, candidate) -> None:
    found = match_cells(cell(**{field: base}), cell(**{field: candidate}), FREE)
    assert found.pairs == ()
    (refused,) = found.refused
    assert refused.mismatches == (Mismatch(field, str(base), str(candidate)),)


def test_a_batch_size_that_the_node_found_is_one_cell_and_compares_only_at_one_size(cell) -> None:
    def found(size: int):
        return cell(batch_size=size, batch_size_rule="auto")

    assert len(match_cells(found(448), found(448), FREE).pairs) == 1
    (refused,) = match_cells(found(448), found(512), FREE).refused
    assert refused.mismatches == (Mismatch("batch_size", "448", "512"),)


def test_a_found_batch_size_is_another_cell_than_the_same_size_as_given(cell) -> None:
    found = match_cells(cell(batch_size=64), cell(batch_size=64, batch_size_rule="auto"), FREE)
    assert (len(found.pairs), len(found.refused)) == (0, 0)
    assert (len(found.vanished), len(found.appeared)) == (1, 1)


def test_precisions_of_one_cell_match_each_other_or_each_its_own(cell) -> None:
    sweep = [*cell(), *cell(dtype="bfloat16")]
    found = match_cells(sweep, sweep, FREE)
    assert [(pair.base[0].dtype, pair.candidate[0].dtype) for pair in found.pairs] == [
        ("float32", "float32"),
        ("bfloat16", "bfloat16"),
    ]
    by_dtype = match_cells(cell(), cell(dtype="bfloat16"), CellRules(frozenset({"dtype"})))
    assert [len(pair.base) for pair in by_dtype.pairs] == [5]


def test_values_missing_in_rows_of_earlier_versions_prevent_no_match(cell) -> None:
    found = match_cells(cell(model_hash=None, exclusive=None), cell(), FREE)
    assert (len(found.pairs), found.refused) == (1, ())


def test_remaining_cells_are_paired_by_the_fewest_differences(cell) -> None:
    base = [*cell(threads=1), *cell(threads=2, seed=1)]
    candidate = [*cell(threads=8, seed=1), *cell(threads=4)]
    found = match_cells(base, candidate, FREE)
    texts = {tuple(mismatch.text for mismatch in entry.mismatches) for entry in found.refused}
    assert texts == {
        ("threads is 1 in the base, 4 in the candidate",),
        ("threads is 2 in the base, 8 in the candidate",),
    }


def test_cells_without_a_counterpart_vanished_or_appeared(cell) -> None:
    found = match_cells([*cell(), *cell(model="lstm")], [*cell(), *cell(framework="jax")], FREE)
    assert len(found.pairs) == 1
    assert [rows[0].model for rows in found.vanished] == ["lstm"]
    assert [rows[0].framework for rows in found.appeared] == ["jax"]


def test_a_subject_and_what_depends_on_it_are_no_differences(cell) -> None:
    jax = cell(framework="jax", variant="jit")
    assert len(match_cells(cell(), jax, CellRules(frozenset({"framework"}))).pairs) == 1
    assert match_cells(cell(), jax, CellRules(frozenset({"variant"}))).pairs == ()
    elsewhere = cell(node_type="t2", cpu_model="Another")
    assert len(match_cells(cell(), elsewhere, CellRules(frozenset({"node_type"}))).pairs) == 1
    assert len(match_cells(cell(), elsewhere, CellRules(frozenset({"hostname"}))).pairs) == 1


def test_a_framework_at_a_version_is_the_same_cell_if_versions_are_compared(cell) -> None:
    pinned = cell(framework="torch==2.12.1")
    assert match_cells(pinned, cell(), FREE).pairs == ()
    assert len(match_cells(pinned, cell(), CellRules(frozenset({"framework_version"}))).pairs) == 1


def test_a_side_with_two_contestants_in_one_cell_is_refused_with_the_remedy(cell) -> None:
    both = [*cell(framework="jax", variant="jit"), *cell(framework="jax", variant="eager")]
    with pytest.raises(ConfigError) as caught:
        match_cells(cell(), both, CellRules(frozenset({"framework"})))
    assert str(caught.value) == (
        "CANDIDATE: one cell has several values of variant: eager, jit. "
        "Add variant=eager, or another of them."
    )
