"""The sizes that a search tries: it ends at the largest candidate that fits, after few tries."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from velodrome.agents.batch_search.candidates import (
    MOST,
    choose_size,
    find_next_larger,
    find_next_smaller,
    list_between,
    round_down,
)

SIZES = st.integers(1, MOST)


def search(limit: int, start: int, most: int = MOST) -> tuple[list[int], int]:
    """Search on a node where sizes up to a limit fit; return the tries and the found size."""
    fitting: list[int] = []
    failing: list[int] = []
    tries: list[int] = []
    while size := choose_size(start, most, fitting, failing):
        tries.append(size)
        (fitting if size <= limit else failing).append(size)
    return tries, max(fitting, default=0)


@pytest.mark.parametrize(
    ("size", "candidate"),
    [(1, 1), (7, 7), (9, 8), (11, 10), (511, 448), (512, 512), (65536, 65536)],
)
def test_a_size_is_rounded_down_to_three_significant_bits(size: int, candidate: int) -> None:
    assert round_down(size) == candidate


@given(SIZES)
def test_rounding_loses_at_most_a_fifth(size: int) -> None:
    assert 0.8 * size < round_down(size) <= size
    assert round_down(round_down(size)) == round_down(size)


@given(SIZES)
def test_candidates_follow_each_other_without_a_gap(size: int) -> None:
    candidate = round_down(size)
    assert find_next_smaller(find_next_larger(candidate)) == candidate
    assert round_down(find_next_larger(candidate)) == find_next_larger(candidate)
    assert list_between(candidate, find_next_larger(candidate)) == ()


def test_before_one_there_is_no_candidate() -> None:
    assert find_next_smaller(1) == 0


@given(limit=st.integers(0, 2 * MOST), start=SIZES, most=SIZES)
def test_a_search_finds_the_largest_candidate_that_fits(limit: int, start: int, most: int) -> None:
    tries, found = search(limit, start, most)
    assert found == (round_down(min(limit, most)) if limit else 0)
    assert len(tries) == len(set(tries))
    assert max(tries) <= most


@given(limit=st.integers(1, MOST), start=SIZES)
def test_a_search_needs_a_doubling_for_each_power_of_two_and_two_more(
    limit: int, start: int
) -> None:
    tries, _ = search(limit, start)
    assert len(tries) <= abs(math.log2(limit / start)) + 5


def test_a_search_doubles_and_then_bisects() -> None:
    assert search(100, 8) == ([8, 16, 32, 64, 128, 96, 112], 96)


def test_a_search_that_starts_too_high_halves() -> None:
    assert search(5, 64) == ([64, 32, 16, 8, 4, 6, 5], 5)
    assert search(0, 4) == ([4, 2, 1], 0)
