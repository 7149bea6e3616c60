"""The command that runs one task again: what it names, and what it leaves out."""

import shlex
from dataclasses import replace

import pytest

from velodrome.adapters.protocol import Timing
from velodrome.agents.rerun_command import rerun_command
from velodrome.agents.task import Limits, Task

QUICK = Timing(target=0.9, min_samples=3, min_seconds=0.0, max_seconds=2.0)
TASK = Task("numpy", "float64", "lenet", 2, timing=QUICK, limits=Limits(deadline_s=120))


@pytest.mark.parametrize(
    ("task", "words"),
    [
        (TASK, ("--target 0.9", "--deadline 120s")),
        (replace(TASK, seed=7, timing=Timing(), limits=Limits()), ("--seed 7",)),
        (replace(TASK, limits=Limits(memory_bytes=2**34)), ("--memory 17179869184B",)),
        (replace(TASK, model="a b", variant="x;y"), ("'a b'", "'x;y'")),
        (replace(TASK, timing=Timing(min_seconds=1e-5)), ("--min-seconds 0.00001",)),
    ],
)
def test_the_rerun_command_names_only_values_that_are_not_defaults(
    task: Task, words: tuple[str, ...]
) -> None:
    command = rerun_command(task)
    assert all(word in command for word in words)
    typed = shlex.split(command)
    assert typed[:4] == ["velodrome", "measure", task.framework, task.model]
    assert len(typed) % 2 == 0


def test_the_rerun_command_of_a_plain_task_is_short() -> None:
    assert rerun_command(Task("torch", "eager", "lstm", 16, threads=4)) == (
        "velodrome measure torch lstm --variant eager --batch-size 16 --device cpu --threads 4"
    )
