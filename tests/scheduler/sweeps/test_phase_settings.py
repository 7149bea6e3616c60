"""Phases and the optimizer in sweep files, plans and commands."""

from dataclasses import replace

import pytest

from velodrome.adapters.registry import FRAMEWORKS
from velodrome.agents.node import Core, Node
from velodrome.agents.task import Task
from velodrome.scheduler.errors import ConfigError
from velodrome.scheduler.plans.durations import estimate_s
from velodrome.scheduler.plans.placement import make_plan
from velodrome.scheduler.sweeps.expansion import expand_cells
from velodrome.scheduler.sweeps.phases import describe_phases, parse_optimizer, parse_phases
from velodrome.scheduler.sweeps.sweep import Sweep
from velodrome.scheduler.sweeps.sweep_file import parse_sweep

SHORTEST = "frameworks: [torch]\nmodels: [lenet]\n"
NODE = Node("n1", "h", "CPU", tuple(Core(at, (at,)) for at in range(4)), 2**36)


def read(text: str) -> Sweep:
    return parse_sweep(SHORTEST + text, "s.yaml", FRAMEWORKS)


def plan_tasks(text: str) -> dict[str, Task]:
    """Plan a sweep on one node; return its tasks by model."""
    sweep = parse_sweep(text, "s.yaml", FRAMEWORKS)
    plan = make_plan(expand_cells(sweep), sweep, (NODE,), {})
    return {task.model: task for task in plan.tasks}


def complaint(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read(text)
    return str(caught.value)


def test_a_sweep_times_forward_and_gradient_unless_it_says_otherwise() -> None:
    assert (read("").phases, read("").optimizer) == (("forward", "gradient"), "")


def test_phases_may_stand_in_any_order() -> None:
    sweep = read("phases: [step, inference, forward, step]\noptimizer: adamw\n")
    assert sweep.phases == ("forward", "inference", "step")
    assert sweep.optimizer == "adamw"


def test_forward_alone_is_allowed() -> None:
    assert read("phases: [forward]\n").phases == ("forward",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("phases: [forward, steps]", "3:19: no such phase 'steps'. Did you mean 'step'?"),
        ("phases: step", "3:9: phases holds 'step'. Give a list, like [forward, gradient, step]."),
        (
            "phases: []",
            "3:9: phases is an empty list. Give at least one: [forward, gradient, step]",
        ),
        ("phases: [step]\noptimizer: adam", "4:12: no such optimizer 'adam'. Did you mean 'adamw'"),
        (
            "phases: [inference]\noptimizer: sgd",
            "4:12: no phase uses an optimizer. Add update or step to `phases`.",
        ),
    ],
)
def test_a_wrong_phase_or_optimizer_is_reported_with_its_place(text: str, message: str) -> None:
    assert complaint(text).startswith(f"s.yaml:{message}")


def test_every_task_of_a_plan_has_the_phases_and_the_optimizer_of_its_sweep() -> None:
    text = "frameworks: [numpy]\nmodels: [lenet, lstm]\nphases: [step, inference]\n"
    for task in plan_tasks(text).values():
        assert (task.phases, task.optimizer) == (("inference", "step"), "sgd")


def test_ceilings_and_canaries_keep_their_phases_whatever_the_sweep_says() -> None:
    plain = "frameworks: [numpy]\nmodels: [lenet]\nceilings: true\ncanary: true\n"
    usual, special = plan_tasks(plain), plan_tasks(f"{plain}phases: [step]\noptimizer: adamw\n")
    assert special["lenet"].phases == ("step",)
    assert usual.keys() == special.keys() > {"lenet"}
    for model in usual.keys() - {"lenet"}:
        assert usual[model].key == special[model].key


def test_a_step_is_expected_to_last_longer_than_its_gradient() -> None:
    task = Task("numpy", "float64", "alexnet", 128)
    gradient, step, update = (
        estimate_s(replace(task, phases=(phase,), optimizer="adamw"))
        for phase in ("gradient", "step", "update")
    )
    assert estimate_s(replace(task, phases=())) < update < gradient < step


def test_inference_is_expected_to_last_as_long_as_forward() -> None:
    forward, inference = (
        estimate_s(Task("numpy", "float64", "alexnet", 128, phases=(phase,)))
        for phase in ("forward", "inference")
    )
    assert forward == inference


def test_phases_of_the_command_line_are_separated_by_commas_or_repeated() -> None:
    assert parse_phases((), "lenet") == ("forward", "gradient")
    assert parse_phases(("step,inference",), "lenet") == ("inference", "step")
    assert parse_phases(("step", "forward, update"), "lenet") == ("forward", "update", "step")


@pytest.mark.parametrize(
    ("texts", "model", "message"),
    [
        (("stpe",), "lenet", "--phases: there is no 'stpe'. Did you mean 'step'?"),
        (("",), "lenet", "--phases: no phase is given. Give one or more of forward, gradient,"),
        ((" ", ","), "lenet", "--phases: no phase is given. Give one or more of forward,"),
        (("gradient,load",), "lstm", "--phases: lstm has no load: its examples are sequences"),
        (("step",), "copy", "--phases: copy is timed in its usual phases alone. Leave --phases"),
    ],
)
def test_a_wrong_phase_of_the_command_line_is_reported(
    texts: tuple[str, ...], model: str, message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_phases(texts, model)
    assert str(caught.value).startswith(f"command line, {message}")


@pytest.mark.parametrize(
    ("text", "phases", "message"),
    [
        ("adm", ("step",), "there is no 'adm'. Did you mean 'adamw'?"),
        ("sgd", ("forward",), "no phase uses an optimizer. Add update or step"),
    ],
)
def test_a_wrong_optimizer_of_the_command_line_is_reported(
    text: str, phases: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_optimizer(text, phases)
    assert str(caught.value).startswith(f"command line, --optimizer: {message}")


def test_phases_are_described_with_their_optimizer() -> None:
    assert describe_phases(("forward", "step"), "sgd") == "forward, step (sgd)"
    assert describe_phases(("forward",), "") == "forward"
