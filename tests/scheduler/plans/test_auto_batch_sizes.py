"""Plans with the batch size `auto`: a task of its own, whose key a found size does not change."""

from dataclasses import replace

from made_nodes import node

from velodrome.adapters.registry import FRAMEWORKS
from velodrome.agents.task import Task
from velodrome.scheduler.plans.placement import make_plan
from velodrome.scheduler.sweeps.expansion import expand_cells
from velodrome.scheduler.sweeps.sweep_file import parse_sweep


def planned(text: str) -> list[Task]:
    head = "frameworks: [torch]\nmodels: [lenet]\nrepeats: 1\n"
    sweep = parse_sweep(head + text, "s.yaml", FRAMEWORKS)
    made = make_plan(expand_cells(sweep), sweep, [node("a", 1)], {})
    return [one.task for one in made.placements]


def test_auto_is_a_task_of_its_own_beside_given_sizes() -> None:
    tasks = planned("batch_sizes: {lenet: [64, auto]}")
    assert {(one.batch_size, one.batch_size_rule, one.label) for one in tasks} == {
        (0, "auto", "torch[eager] lenet bauto cpu 1t"),
        (64, "", "torch[eager] lenet b64 cpu 1t"),
    }


def test_the_size_that_a_node_found_leaves_the_key_as_it_was_planned() -> None:
    (task,) = planned("batch_sizes: {lenet: [auto]}")
    found = replace(task, batch_size=96)
    assert found.key == task.key
    assert found.label == "torch[eager] lenet bauto=96 cpu 1t"
    assert task.key != replace(found, batch_size_rule="").key


def test_an_exclusion_names_auto_as_the_file_does() -> None:
    tasks = planned("batch_sizes: {lenet: [64, auto]}\nexclude: [{batch_size: auto}]")
    assert [one.batch_size for one in tasks] == [64]
