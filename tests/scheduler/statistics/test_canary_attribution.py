import math

import pytest

from velodrome.scheduler.statistics.canary_attribution import (
    Attribution,
    CanaryRun,
    ChangeSource,
    attribute_change,
)


def row(ns: float, before: float | None, after: float | None, name: str = "numpy 2") -> CanaryRun:
    return CanaryRun(ns, name if before else "", (before, after) if before else ())


BASE = [row(100e6, 10e6, 10.1e6), row(101e6, 9.9e6, 10e6), row(99e6, 10e6, 9.9e6)]


def slower(number: float, canary: float) -> list[CanaryRun]:
    return [
        row(100e6 * number, 10e6 * canary, 10.1e6 * canary),
        row(101e6 * number, 9.9e6 * canary, 10e6 * canary),
        row(99e6 * number, 10e6 * canary, 9.9e6 * canary),
    ]


def test_an_equally_slower_canary_attributes_the_change_to_the_machine() -> None:
    assert attribute_change(BASE, slower(1.3, 1.28)).cause is ChangeSource.MACHINE


def test_an_unchanged_canary_attributes_the_change_to_the_framework() -> None:
    assert attribute_change(BASE, slower(1.3, 1.0)).cause is ChangeSource.FRAMEWORK


def test_a_faster_canary_with_a_slower_number_attributes_the_change_to_the_framework() -> None:
    assert attribute_change(BASE, slower(1.3, 0.8)).cause is ChangeSource.FRAMEWORK


def test_a_speed_up_is_attributed_in_the_same_way() -> None:
    assert attribute_change(BASE, slower(0.7, 0.72)).cause is ChangeSource.MACHINE
    assert attribute_change(BASE, slower(0.7, 1.0)).cause is ChangeSource.FRAMEWORK


def test_a_canary_with_half_of_the_change_attributes_nothing() -> None:
    found = attribute_change(BASE, slower(1.21, 1.1))
    assert found.cause is ChangeSource.UNKNOWN
    assert "uncertain" in found.reason


def test_canaries_that_scatter_as_widely_as_the_change_attribute_nothing() -> None:
    wild = [row(100e6, 8e6, 10e6), row(100e6, 12e6, 13e6), row(100e6, 9e6, 11e6)]
    found = attribute_change(wild, slower(1.1, 1.05))
    assert found.cause is ChangeSource.UNKNOWN
    assert found.canary is not None
    assert found.canary.low < 1 < found.canary.high


def test_the_interval_of_the_canary_is_that_of_a_hand_worked_pooled_t_test() -> None:
    """Logs 0, 0.02, 0.04 and 0.22, 0.24, 0.26: pooled deviation 0.02, t(0.975, 4) = 2.7764."""
    base = [row(1e8, 1e7 * math.exp(x), 1e7 * math.exp(x)) for x in (0.0, 0.02, 0.04)]
    then = [row(1.3e8, 1e7 * math.exp(x), 1e7 * math.exp(x)) for x in (0.22, 0.24, 0.26)]
    half = 2.776445 * 0.02 * math.sqrt(2 / 3)
    found = attribute_change(base, then).canary
    assert found is not None
    assert found.value == pytest.approx(math.exp(0.22))
    assert found.low == pytest.approx(math.exp(0.22 - half), rel=1e-6)
    assert found.high == pytest.approx(math.exp(0.22 + half), rel=1e-6)


def test_two_canaries_around_a_single_task_suffice_for_a_large_change() -> None:
    assert (
        attribute_change([row(1e8, 1e7, 1.01e7)], [row(1.5e8, 1e7, 1e7)]).cause
        is ChangeSource.FRAMEWORK
    )
    assert (
        attribute_change([row(1e8, 1e7, 1.01e7)], [row(1.5e8, 1.5e7, 1.51e7)]).cause
        is ChangeSource.MACHINE
    )


def test_identical_canaries_do_not_count_as_noiseless() -> None:
    found = attribute_change([row(1e8, 1e7, 1e7)] * 2, [row(1.01e8, 1.004e7, 1.004e7)] * 2)
    assert found.cause is ChangeSource.UNKNOWN


def test_without_comparable_canaries_nothing_is_attributed() -> None:
    assert unknown(attribute_change(BASE, [row(2e8, None, None)])) == "no canary on one side"
    assert "different canary models" in unknown(
        attribute_change(BASE, [row(2e8, 1e7, 1e7, "numpy 3")])
    )
    assert unknown(attribute_change(BASE, [])) == "there is no number on both sides"
    assert unknown(attribute_change(BASE, BASE)) == "the number did not move"


def test_a_run_whose_canary_failed_is_left_out_of_the_attribution() -> None:
    with_failure = [*slower(1.3, 1.28), row(500e6, None, None)]
    assert attribute_change(BASE, with_failure) == attribute_change(BASE, slower(1.3, 1.28))
    one_left = [row(130e6, None, None), row(130e6, 10e6, 10.1e6)]
    assert attribute_change([row(100e6, None, None), *BASE], one_left).cause is (
        ChangeSource.FRAMEWORK
    )


def unknown(found: Attribution) -> str:
    assert found.cause is ChangeSource.UNKNOWN
    return found.reason.split(":")[0]
