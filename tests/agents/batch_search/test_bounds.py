"""The bounds of a search: memory, the longest call, and the largest size that has a reference."""

import pytest

from velodrome.adapters.models import MODELS
from velodrome.adapters.protocol import Timing
from velodrome.agents.batch_search.bounds import (
    compute_longest_call,
    compute_memory_bound,
    find_most,
)
from velodrome.agents.batch_search.candidates import MOST

GIB = 2**30


def test_a_limit_of_the_task_leaves_a_share_for_the_proof() -> None:
    found = compute_memory_bound(10 * GIB, 64 * GIB)
    assert found.size_bytes == 9 * GIB
    assert found.origin == "90% of the task's limit of 10.00 GiB"
    assert found.limited_to(60 * GIB) == found


@pytest.mark.parametrize("available_gib", [57.0, 60.5, 63.9])
@pytest.mark.parametrize("ram_gib", [61.9, 62.8, 63.1])
def test_similar_idle_nodes_have_one_limit(ram_gib: float, available_gib: float) -> None:
    found = compute_memory_bound(0, int(ram_gib * GIB)).limited_to(int(available_gib * GIB))
    assert found.size_bytes == 40 * GIB
    assert found.is_lasting


def test_a_busy_node_gives_what_is_available_and_says_so() -> None:
    for asked in (0, 40 * GIB):
        found = compute_memory_bound(asked, 64 * GIB).limited_to(10 * GIB)
        assert found.size_bytes == 8 * GIB
        assert found.origin == "90% of the 10.0 GiB that are available now"
        assert not found.is_lasting


def test_a_call_may_take_its_share_of_the_time_for_samples() -> None:
    assert compute_longest_call(Timing(max_seconds=60.0, min_samples=10)) == 6.0


def test_a_model_without_a_loss_ends_at_the_cap() -> None:
    assert find_most(MODELS["copy"], 1, GIB) == (MOST, "no larger one is tried")


def test_sequences_end_where_their_examples_do() -> None:
    most, why = find_most(MODELS["lstm"], 64, 512 * GIB)
    assert most <= len(MODELS["lstm"].input.lengths)
    assert why == f"lstm has {len(MODELS['lstm'].input.lengths)} examples"


def test_a_network_that_cannot_be_cut_ends_where_its_reference_fills_half_of_the_memory() -> None:
    small, why = find_most(MODELS["resnet50"], 1000, 16 * GIB)
    large, _ = find_most(MODELS["resnet50"], 1000, 64 * GIB)
    assert "reference" in why and "8.0 GiB" in why
    assert 3 < large / small < 5


def test_a_large_model_ends_where_its_reference_takes_too_long() -> None:
    few, why = find_most(MODELS["alexnet"], 1, 512 * GIB)
    many, _ = find_most(MODELS["alexnet"], 8, 512 * GIB)
    assert why == "the float64 reference of a larger one may take over 20 min here"
    assert 6 < many / few < 10


def test_every_model_of_the_zoo_may_run_at_its_own_cpu_batch_size() -> None:
    for model in MODELS.values():
        most, _ = find_most(model, 8, 32 * GIB)
        assert most >= min(model.batch_size, 4), model.name
