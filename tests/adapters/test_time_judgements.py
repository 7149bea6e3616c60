"""Late results, and twice the calls in too little time: judged from made-up times."""

from types import SimpleNamespace

import pytest

from velodrome.adapters.proof import double_work, last_results, unseen_inputs
from velodrome.adapters.proof.timed_phase import CallCost
from velodrome.adapters.protocol import CANNOT_TELL, FAILED, PASSED
from velodrome.adapters.worker import process_times
from velodrome.adapters.worker.process_times import (
    PageFaults,
    ProcessTimes,
    estimate_interference_ns,
    estimate_page_fault_ns,
    measure_first_touch_ns,
)

# What judging times asks of a proof: the device, and how many batches a time is of.
ON_CPU = SimpleNamespace(on_cpu=True, places=(0,))


def costs(*times_ms):
    return [CallCost(1e6 * time, 1e6 * time) for time in times_ms]


@pytest.mark.parametrize(
    ("firsts", "laters", "outcome"),
    [
        ((5, 5, 5.1, 5.2), (1, 1, 1.1, 1), FAILED),
        ((5, 5, 5.1, 1.2), (1, 1, 1.1, 1), PASSED),
        ((5, 9, 5.1, 5.2), (1, 1, 1.1, 1), CANNOT_TELL),
        ((5, 5, 5.1, 5.2), (1, 2, 1.1, 1), CANNOT_TELL),
        ((2.4, 2.4, 2.4, 2.4), (1, 1, 1, 1), PASSED),
    ],
    ids=["calm", "once as quick", "restless firsts", "restless laters", "within what is allowed"],
)
def test_a_batch_is_late_only_if_it_is_late_in_every_round_of_a_calm_machine(
    firsts, laters, outcome
):
    rounds = list(zip(costs(*firsts), costs(*laters), strict=True))
    assert unseen_inputs._judge_rounds(ON_CPU, rounds).outcome == outcome


@pytest.mark.parametrize(
    ("doubles", "singles", "outcome", "is_less"),
    [
        ((2, 2.1), (1, 1), PASSED, False),
        ((1.2, 1.2), (1, 1), CANNOT_TELL, True),
        ((4, 4), (1, 1), CANNOT_TELL, False),
    ],
    ids=["twice", "too little", "too much"],
)
def test_twice_the_calls_must_take_twice_as_long(doubles, singles, outcome, is_less):
    found = double_work.judge_ratios(
        double_work.compute_ratios(ON_CPU, costs(*doubles), costs(*singles))
    )
    assert (found.outcome, double_work.has_failed(found)) == (outcome, is_less)


@pytest.mark.parametrize(
    ("beyond_ms", "taken_ms", "outcome"),
    [
        (-1, 0, PASSED),
        (400, 0, FAILED),
        (400, 300, FAILED),
        (400, 500, CANNOT_TELL),
        (1400, 500, FAILED),
    ],
    ids=["in time", "late", "hardly disturbed", "others used its processors", "late by most of it"],
)
def test_a_late_result_fails_unless_other_processes_used_the_cpus(beyond_ms, taken_ms, outcome):
    first = last_results.ResultReading(CallCost(4e9, 1e9), 10, 1e6 * taken_ms)
    assert last_results._judge_drained(1e6 * beyond_ms, first, 2.7e9).outcome == outcome


@pytest.mark.parametrize(("taken_us", "outcome"), [(400, CANNOT_TELL), (250, FAILED)])
def test_a_short_call_is_not_late_by_less_than_other_processes_took(taken_us, outcome):
    first = last_results.ResultReading(CallCost(2.4e6, 1e6), 10, 1e3 * taken_us)
    assert last_results._judge_drained(286e3, first, 100e3).outcome == outcome


@pytest.mark.parametrize(
    ("page_fault_ms", "is_late"), [(0, True), (90, True), (180, False)], ids=["none", "few", "most"]
)
def test_page_faults_of_a_first_reading_are_no_late_work_of_the_cpu(page_fault_ms, is_late):
    call, again = CallCost(1400e6, 1400e6), last_results.ResultReading(CallCost(440e6, 440e6), 10)
    cost = CallCost(620e6 + 110e6, 620e6 + 110e6)
    first = last_results.ResultReading(cost, 10, page_fault_ns=1e6 * page_fault_ms)
    assert (last_results._measure_excess(ON_CPU, first, again, call) > 0) == is_late


@pytest.mark.parametrize(
    ("touches", "is_late"), [(0.5, False), (100, True)], ids=["new memory", "late work"]
)
def test_memory_that_is_slow_to_get_makes_no_result_late(touches, is_late):
    size = 2**24
    late_ns = 1e6 + touches * measure_first_touch_ns(size)
    call, again = CallCost(1e7, 1e7), last_results.ResultReading(CallCost(1e4, 1e4), size)
    first = last_results.ResultReading(CallCost(late_ns, late_ns), size)
    assert (last_results._measure_excess(ON_CPU, first, again, call) > 0) == is_late


def test_more_new_memory_takes_longer_to_get():
    assert measure_first_touch_ns(0) == 0 < measure_first_touch_ns(1)
    assert measure_first_touch_ns(2**25) > measure_first_touch_ns(2**14)


@pytest.mark.parametrize(
    ("count", "kernel_ms", "estimated_ms"),
    [(0, 5, 0), (2, 5, 4), (100, 5, 5)],
    ids=["no faults", "too few to explain it", "many"],
)
def test_kernel_time_counts_as_page_faults_only_if_they_explain_it(count, kernel_ms, estimated_ms):
    after = PageFaults(7 + count, 3e6 + 1e6 * kernel_ms)
    assert estimate_page_fault_ns(PageFaults(7, 3e6), after) == pytest.approx(1e6 * estimated_ms)


@pytest.mark.parametrize(
    ("spent", "taken_ns"),
    [
        (ProcessTimes(1000, 2000, 900), 0),
        (ProcessTimes(1000, 2100, 900), 0),
        (ProcessTimes(1000, 500, 900), 900),
        (ProcessTimes(1000, 1500, 900), 500),
        (ProcessTimes(1000, 500, 0), 0),
    ],
    ids=["own threads in the way", "clocks differ", "by others", "in part by others", "idle"],
)
def test_cpu_time_counts_as_taken_by_others_only_if_the_process_did_not_use_it(
    spent, taken_ns, monkeypatch
):
    monkeypatch.setattr(process_times, "_processors", lambda: 2)
    assert estimate_interference_ns(spent) == taken_ns
