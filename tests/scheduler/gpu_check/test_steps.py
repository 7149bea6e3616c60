"""Steps of the GPU check: failures are told and end nothing, and the time is kept."""

import time
from pathlib import Path

from velodrome.adapters.protocol import Phase
from velodrome.scheduler.gpu_check.energy_step import list_timed_windows
from velodrome.scheduler.gpu_check.options import CheckOptions
from velodrome.scheduler.gpu_check.plan import list_tasks
from velodrome.scheduler.gpu_check.sampling_cost import judge_cost
from velodrome.scheduler.gpu_check.steps import (
    CheckStep,
    StepOutcome,
    StepVerdict,
    exit_status,
    failed,
    passed,
    run_steps,
)


def run(*steps: CheckStep, budget_s: float = 60.0) -> tuple[StepOutcome, ...]:
    return run_steps(steps, time.monotonic() + budget_s, lambda outcome: None)


def raise_fault(left_s: float) -> StepOutcome:
    raise ZeroDivisionError("a fault of ours")


def test_a_step_that_fails_or_raises_is_told_and_the_others_still_run() -> None:
    outcomes = run(
        CheckStep("first", lambda left_s: failed("the meter is wrong"), 0),
        CheckStep("second", raise_fault, 0),
        CheckStep("third", lambda left_s: passed("all is well"), 0),
    )
    assert [outcome.verdict for outcome in outcomes] == ["failed", "failed", "passed"]
    assert outcomes[1].text == "ZeroDivisionError: a fault of ours"
    assert "raise_fault" in str(outcomes[1].figures["traceback"])
    assert exit_status(outcomes) == 1
    assert exit_status(outcomes[2:]) == 0
    assert exit_status(()) == 1  # nothing was shown


def test_a_step_without_enough_time_is_left_out_and_says_so() -> None:
    outcomes = run(
        CheckStep("long", lambda left_s: passed("never begun"), 100),
        CheckStep("short", lambda left_s: passed("done"), 1),
        budget_s=10,
    )
    assert outcomes[0].verdict is StepVerdict.LEFT_OUT
    assert outcomes[0].text == "needs 100 s, and 10 s are left"
    assert outcomes[1].verdict is StepVerdict.PASSED
    assert exit_status(outcomes) == 0


def test_a_step_that_takes_all_the_time_is_ended_after_its_cleanup() -> None:
    cleaned = []

    def hang(left_s: float) -> StepOutcome:
        try:
            time.sleep(60)
        finally:
            cleaned.append(left_s)
        return passed("never")

    begun_s = time.monotonic()
    (outcome,) = run(CheckStep("hangs", hang, 0), budget_s=0.1)
    assert time.monotonic() - begun_s < 10
    assert outcome.verdict is StepVerdict.LEFT_OUT
    assert cleaned


def test_all_models_come_in_one_precision_before_the_next_one() -> None:
    options = CheckOptions(Path(), models=("lenet", "gemm"), dtypes=("float32", "bfloat16"))
    tasks = list_tasks(options, ["torch", "jax"])
    assert tasks[:2] == [("torch", "lenet", "float32"), ("jax", "lenet", "float32")]
    assert [dtype for _, _, dtype in tasks] == ["float32"] * 4 + ["bfloat16"] * 4


def test_sampling_costs_something_only_if_every_run_with_it_is_slower() -> None:
    assert judge_cost([104, 105, 106], [100, 101, 101], 1.0).verdict is StepVerdict.FAILED
    assert judge_cost([104, 100, 106], [100, 101, 101], 1.0).verdict is StepVerdict.PASSED
    assert judge_cost([101, 102, 102], [100, 101, 101], 1.0).verdict is StepVerdict.PASSED
    few = judge_cost([110], [100], 1.0)
    assert few.verdict is StepVerdict.PASSED
    assert "too few runs to judge" in few.text


def test_energy_is_compared_within_the_timed_phases_alone() -> None:
    names = ("import", "warmup", "forward", "prove", "gradient", "prove")
    begun = [Phase(name, 10 * at) for at, name in enumerate(names)]
    assert list_timed_windows(begun) == [(20, 30), (40, 50)]
