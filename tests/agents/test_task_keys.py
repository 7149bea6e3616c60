"""Keys of tasks: what decides a number is in them, and stored results keep theirs."""

from dataclasses import replace

import pytest

from velodrome.agents.phases import choose_optimizer, choose_phases, find_decisive
from velodrome.agents.task import Task

TASK = Task("torch", "eager", "lenet", 64)


@pytest.mark.parametrize(
    ("task", "key"),
    [
        (TASK, "d1a9bb443c09d3b3"),
        (replace(TASK, model="lstm", dtype="bfloat16", lock_hash="a1b2"), "e530e06b16a39db1"),
    ],
)
def test_a_task_of_forward_and_gradient_has_the_key_of_stored_results(task: Task, key: str) -> None:
    assert task.key == key


def test_other_phases_and_another_optimizer_are_other_tasks() -> None:
    tasks = [
        TASK,
        replace(TASK, phases=("forward",)),
        replace(TASK, phases=("inference",)),
        replace(TASK, phases=("step",), optimizer="sgd"),
        replace(TASK, phases=("step",), optimizer="adamw"),
    ]
    assert len({task.key for task in tasks}) == len(tasks)


def test_phases_are_timed_in_their_own_order() -> None:
    assert choose_phases("lenet", ("step", "inference", "forward")) == (
        "forward",
        "inference",
        "step",
    )


@pytest.mark.parametrize("model", ["copy", "gemm", "gemm-1024", "canary"])
def test_a_model_that_describes_the_machine_keeps_its_phases(model: str) -> None:
    assert choose_phases(model, ("inference", "step")) == ("forward", "gradient")


def test_only_update_and_step_have_an_optimizer() -> None:
    assert choose_optimizer(("forward", "step"), "") == "sgd"
    assert choose_optimizer(("update",), "adamw") == "adamw"
    assert choose_optimizer(("forward", "gradient", "inference"), "adamw") == ""


@pytest.mark.parametrize(
    ("timed", "decisive"),
    [
        (("forward", "gradient", "step"), "gradient"),
        (("forward", "inference", "update", "step"), "step"),
        (("forward", "inference", "update"), "update"),
        (("forward", "inference"), "inference"),
        (("forward",), "forward"),
        ((), ""),
    ],
)
def test_the_gradient_decides_and_else_the_last_phase(timed: tuple[str, ...], decisive) -> None:
    assert find_decisive(timed) == decisive
