"""`--only`: the tasks that it selects, and its errors."""

import pytest

from velodrome.agents.task import AUTO, Task
from velodrome.scheduler.errors import ConfigError
from velodrome.scheduler.plans.placement import Placement, Plan, Unplaceable
from velodrome.scheduler.plans.selection import narrow_plan, parse_selection

TASKS = {
    "torch lenet": Task("torch", "eager", "lenet", 64, threads=1),
    "torch lenet 2": Task("torch", "eager", "lenet", 64, threads=2),
    "torch alexnet": Task("torch", "compile", "alexnet", 16, threads=1),
    "torch plain": Task("torch", "eager", "alexnet-plain", 16, threads=1),
    "torch ae1": Task("torch", "eager", "autoencoder-400-200-100/ae1", 64, threads=1),
    "tensorflow lenet": Task("tensorflow", "graph", "lenet", 64, threads=1),
    "torch auto": Task("torch", "eager", "lenet", 0, threads=4, batch_size_rule=AUTO),
    "tensorflow gpu": Task("tensorflow", "graph", "lenet", 64, device="gpu", gpu_count=1),
}


def chosen(text: str) -> set[str]:
    selection = parse_selection(text)
    return {name for name, task in TASKS.items() if selection.matches(task)}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("framework=tensorflow", {"tensorflow lenet", "tensorflow gpu"}),
        (
            "framework=torch model=lenet|alexnet* threads=1",
            {"torch lenet", "torch alexnet", "torch plain"},
        ),
        ("framework=torch,model=lenet", {"torch lenet", "torch lenet 2", "torch auto"}),
        ("  model = alexnet | alexnet-plain ,", {"torch alexnet", "torch plain"}),
        ("framework!=torch device!=gpu", {"tensorflow lenet"}),
        ("model!=lenet|alexnet*", {"torch ae1"}),
        ("model=autoencoder-400-200-100", {"torch ae1"}),
        ("model=autoencoder-400-200-100/ae1", {"torch ae1"}),
        ("threads=?  framework=torch variant=comp[il]*", {"torch alexnet"}),
        ("framework=Torch", set()),
        ("batch_size=auto", {"torch auto"}),
        ("batch_size!=64|16", {"torch auto"}),
        (f"task={TASKS['torch plain'].key}", {"torch plain"}),
    ],
)
def test_conditions_all_hold_and_patterns_are_alternatives(text: str, names: set[str]) -> None:
    assert chosen(text) == names


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "--only: there is not a condition. Write it like --only 'framework=torch"),
        (" , ", "--only: there is not a condition."),
        ("framwork=torch", "--only:1:1: no such field 'framwork'. Did you mean 'framework'?"),
        ("model=lenet treads=1", "--only:1:13: no such field 'treads'. Did you mean 'threads'?"),
        ("model=lenet torch", "--only:1:13: 'torch' is not a condition. Write it like --only"),
        ("model=", "--only:1:1: 'model=' is not a condition."),
        ("=lenet", "--only:1:1: no such field ''."),
        ("model==lenet", "--only:1:1: 'model==lenet' is not a condition."),
        ("model=lenet|", "--only:1:12: '|' is not a condition."),
        ("threads>1", "--only:1:1: 'threads>1' is not a condition."),
    ],
)
def test_an_unreadable_condition_is_reported_with_its_column(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_selection(text)
    assert str(caught.value).startswith(message)


def test_a_version_is_part_of_a_frameworks_name() -> None:
    (condition, other) = parse_selection("framework=torch==2.12.1|torch model=lenet").conditions
    assert condition.patterns == ("torch==2.12.1", "torch")
    assert other.patterns == ("lenet",)


def plan_of(*names: str) -> Plan:
    placements = tuple(Placement(TASKS[name], repeat, "n") for repeat in (0, 1) for name in names)
    return Plan(placements, (Unplaceable(TASKS["tensorflow gpu"], "needs 1 GPU"),))


def test_a_plan_is_narrowed_in_its_order_with_what_fits_nowhere() -> None:
    plan = plan_of("torch lenet", "tensorflow lenet", "torch alexnet")
    torch = narrow_plan(plan, parse_selection("framework=torch"))
    assert [(one.task.model, one.repeat) for one in torch.placements] == [
        ("lenet", 0),
        ("alexnet", 0),
        ("lenet", 1),
        ("alexnet", 1),
    ]
    assert torch.unplaceable == ()
    gpu = narrow_plan(plan, parse_selection("device=gpu"))
    assert (gpu.placements, len(gpu.unplaceable)) == ((), 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "threads=1 model=alexnt",
            "--only:1:11: no task of the sweep has the model 'alexnt'. Did you mean 'alexnet'?",
        ),
        (
            "framework=tensorflow model=alexnet",
            "--only: no task of the sweep is 'framework=tensorflow model=alexnet' in every cond",
        ),
    ],
)
def test_an_empty_selection_is_reported(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        narrow_plan(plan_of("torch alexnet", "tensorflow lenet"), parse_selection(text))
    assert str(caught.value).startswith(message)
