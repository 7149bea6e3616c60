"""Planted faults that give wrong times, in three frameworks: each is found by its check.

All of these are verified first: they compute the model, but not in the calls that are timed.
"""

import pytest

pytestmark = [pytest.mark.framework, pytest.mark.slow]

FRAMEWORKS = ["torch", pytest.param("tensorflow", marks=pytest.mark.full), "jax"]
VARIABLES = {"jax": {"NPROC": "1"}, "tensorflow": {"TF_CPP_MIN_LOG_LEVEL": "2"}}


@pytest.fixture(params=FRAMEWORKS)
def bench(workers_of, request):
    return workers_of(request.param, **VARIABLES.get(request.param, {}))


def test_cached_results_are_faster_than_any_core_can_compute(bench):
    found = bench.cheats("lenet", "possible", adapter="keeps_results", batch_size=8)
    assert "exceed the possible" in found.reason


def test_cached_results_are_late_for_an_unseen_batch(bench):
    found = bench.cheats("lenet", "not_seen_before", adapter="keeps_results_and_spins")
    assert "an unseen batch took" in found.reason


def test_a_batch_that_is_never_reloaded_is_detected_by_its_loss(bench):
    found = bench.cheats("lenet", "not_seen_before", adapter="never_loads_again", batch_size=8)
    assert "loss is off" in found.reason


def test_a_batch_compiled_as_a_constant_is_detected_by_its_loss(bench):
    adapter = f"{bench.framework.name}_captured_batches"
    found = bench.cheats("lenet", "not_seen_before", adapter=adapter, batch_size=8)
    assert "loss is off" in found.reason


def test_weights_compiled_as_constants_do_not_follow_a_changed_parameter(bench):
    adapter = f"{bench.framework.name}_captured_weights"
    found = bench.cheats("lenet", "follows_parameters", adapter=adapter, batch_size=8)
    assert "with other values of" in found.reason


def test_calls_that_return_early_are_not_drained(bench):
    found = bench.cheats("lenet", "drained", adapter="not_synchronized", batch_size=8)
    assert "the device was not done" in found.reason


def test_gradients_that_arrive_after_the_loss_are_not_drained(bench):
    found = bench.cheats("lenet", "drained", adapter="gradients_come_late", batch_size=32)
    assert found.phase == "gradient"


@pytest.mark.full
def test_jax_without_a_wait_for_its_queue_is_not_drained(workers_of):
    bench = workers_of("jax", **VARIABLES["jax"])
    bench.cheats("lenet", "drained", adapter="jax_asynchronous", batch_size=32)


def test_work_that_stops_after_the_verification_is_detected(bench):
    bench.cheats("lenet", "possible", adapter="stops_working", batch_size=8)


def test_half_of_a_batch_is_detected_by_its_loss(bench):
    found = bench.cheats("lenet", "timed_is_checked", adapter="halves_batches", batch_size=8)
    assert "loss is off" in found.reason


def test_a_forward_that_reuses_a_gradients_activations_is_detected(bench):
    found = bench.cheats("lenet", "possible", adapter="reuses_activations", batch_size=8)
    assert found.phase == "forward"


def test_a_stopwatch_that_reports_a_quarter_is_checked_against_another(bench):
    found = bench.cheats("lenet", "clocked_by_two", adapter="tells_a_quarter", batch_size=8)
    assert "the stopwatch shows" in found.reason


def test_unscaled_dropout_gives_gradients_of_another_norm(bench):
    adapter = f"{bench.framework.name}_unscaled_dropout"
    bench.cheats("probe-dropout", "timed_is_checked", adapter=adapter)


def test_one_dropout_mask_for_a_whole_batch_leaves_zeros_in_a_gradient(bench):
    adapter = f"{bench.framework.name}_one_mask"
    found = bench.cheats("probe-dropout", "timed_is_checked", adapter=adapter)
    assert "share of zeros" in found.reason


def test_a_gradient_without_dropout_is_detected(bench):
    found = bench.cheats("probe-dropout", "timed_is_checked", adapter="drops_nothing_backward")
    assert found.phase == "gradient"


def test_zero_gradients_under_active_dropout_are_detected(bench):
    found = bench.cheats("probe-dropout", "timed_is_checked", adapter="zero_while_dropping")
    assert "is zero" in found.reason


@pytest.mark.parametrize("precision", ["tf32", "bfloat16"])
def test_products_of_rounded_operands_never_pass_as_float32(workers_of, precision):
    for model in ("lenet", "autoencoder-400-200-100/ae2"):
        failed = workers_of("torch").disagrees(model, adapter=f"torch_{precision}", batch_size=8)
        assert "gradients are off" in failed.reason
