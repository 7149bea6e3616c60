"""Plans of tasks that share each batch among several devices of one node."""

from dataclasses import asdict
from pathlib import Path

import pytest
from made_nodes import node

from velodrome.adapters.registry import FRAMEWORKS
from velodrome.agents.measurement import Status
from velodrome.agents.node import Node
from velodrome.agents.task import Task
from velodrome.scheduler.plans.durations import estimate_s
from velodrome.scheduler.plans.expected_outcomes import TO_AGREE, load_expectations
from velodrome.scheduler.plans.explanations import explain_plan
from velodrome.scheduler.plans.placement import Plan, make_plan
from velodrome.scheduler.plans.selection import parse_selection
from velodrome.scheduler.sweeps.expansion import expand_cells
from velodrome.scheduler.sweeps.sweep_file import parse_sweep

SHORTEST = "frameworks: [torch]\nmodels: [lenet]\nrepeats: 1\n"


def planned(text: str, *nodes: Node) -> Plan:
    sweep = parse_sweep(SHORTEST + text, "s.yaml", FRAMEWORKS)
    return make_plan(expand_cells(sweep), sweep, nodes, {})


def placed(made: Plan) -> set[tuple[str, int, int]]:
    return {(one.node_id, one.task.processes, one.task.threads) for one in made.placements}


def test_physical_cores_are_divided_among_the_processes() -> None:
    made = planned("processes: [1, 2, 3]\nbatch_sizes: {lenet: [6]}", node("a", 4))
    assert placed(made) == {("a", 1, 4), ("a", 2, 2), ("a", 3, 1)}
    assert [one.task.total_threads for one in made.placements if one.task.processes == 3] == [3]


def test_a_task_needs_the_cores_of_all_its_processes() -> None:
    made = planned("processes: [1, 2]\nthreads: [2]", node("a", 3), node("b", 2))
    assert {task.processes for task in made.tasks} == {1, 2}
    assert {one.task.processes for one in made.placements} == {1}
    assert [entry.reason for entry in made.unplaceable] == [
        "needs 4 threads for 2 processes of 2, the largest node has 3 cores; nearest: host-a"
    ]
    assert made.unplaceable[0].status is Status.UNPLACEABLE


def test_more_processes_than_cores_fit_nowhere() -> None:
    made = planned("processes: [2]", node("a", 1, smt=2))
    assert [entry.reason for entry in made.unplaceable] == [
        "needs 2 threads for 2 processes, the largest node has 1 core "
        "(2 SMT threads: ask for `logical` to use them)"
    ]
    assert placed(planned("processes: [2]\nthreads: [logical]", node("a", 1, smt=2))) == {
        ("a", 2, 1)
    }


def test_several_gpus_need_threads_for_each() -> None:
    nodes = node("a", 4, gpus=("L4", "L4")), node("b", 8, gpus=("L4", "L4"))
    made = planned('devices: ["gpu:2"]\nthreads: [3]', *nodes)
    assert [(one.node_id, one.task.total_threads) for one in made.placements] == [("b", 6)]


def test_a_batch_that_devices_cannot_share_is_unsupported_as_expected() -> None:
    made = planned("processes: [2, 3]\nthreads: [1]", node("a", 4))
    assert {one.task.processes for one in made.placements} == {2}
    refused = made.unplaceable[0]
    reason = "a batch of 64 cannot be shared equally among 3 devices"
    assert (refused.reason, refused.status) == (reason, Status.UNSUPPORTED)
    expected = load_expectations(FRAMEWORKS).find(refused.task)
    assert (expected.outcomes, expected.reason) == (("unsupported",), reason)


def test_phases_that_load_are_of_one_device() -> None:
    made = planned("processes: [1, 2]\nthreads: [1]\nphases: [gradient, load]", node("a", 4))
    assert placed(made) == {("a", 1, 1)}
    refused = made.unplaceable[0]
    assert refused.reason == "several devices do not share a data set: no phase load"
    assert load_expectations(FRAMEWORKS).find(refused.task).outcomes == ("unsupported",)


def test_a_copy_between_memories_has_a_row_for_each_gpu_and_is_unsupported_on_a_cpu() -> None:
    text = "frameworks: [torch]\nmodels: [h2d-pinned-1mib]\ndevices: [cpu, gpu, 'gpu:2']\n"
    cells = expand_cells(parse_sweep(text + "threads: [1]", "s.yaml", FRAMEWORKS))
    assert [(cell.device, cell.gpu_count, cell.batch_size) for cell in cells] == [
        ("cpu", 0, 1),
        ("gpu", 1, 1),
        ("gpu", 2, 2),
    ]
    on_cpu, on_gpu = (
        load_expectations(FRAMEWORKS).find(Task("torch", "eager", "h2d-pinned-1mib", 1, device))
        for device in ("cpu", "gpu")
    )
    assert on_cpu.outcomes == ("unsupported",)
    assert "a CPU has the host's alone" in on_cpu.reason
    assert on_gpu is TO_AGREE


@pytest.mark.parametrize("name", list(FRAMEWORKS))
def test_a_framework_is_expected_to_refuse_several_devices_unless_it_has_a_form_for_them(
    name: str,
) -> None:
    expectations = load_expectations(FRAMEWORKS, {"VELODROME_SOURCE_NEON": "here"})
    framework = FRAMEWORKS[name]
    refused = {
        processes: [
            expectations.find(Task(name, variant, "lenet", 1200, processes=processes))
            is not TO_AGREE
            for variant in framework.variants
        ]
        for processes in (1, 2, 10, 60)
    }
    assert not refused[1][0]
    source = (Path(framework.folder) / "adapter.py").read_text()
    for processes in (2, 10, 60):
        assert all(refused[processes]) == ("group_form" not in source)


def test_an_automatic_batch_size_is_not_of_several_devices() -> None:
    made = planned("processes: [1, 2]\nbatch_sizes: {lenet: [auto]}", node("a", 4))
    assert [entry.reason for entry in made.unplaceable] == [
        "`auto` finds a batch size for one device, not for 2"
    ]
    assert placed(made) == {("a", 1, 4)}


def test_one_and_several_devices_run_on_the_same_of_equal_nodes() -> None:
    text = "processes: [1, 2]\nscaling: [strong, weak]\nthreads: [1]"
    made = planned(text, node("a", 4), node("b", 4))
    assert len(made.placements) == 3
    assert len({one.node_id for one in made.placements}) == 1


def test_a_plan_explains_which_nodes_have_too_few_cores() -> None:
    text = "processes: [4]\nthreads: [1]"
    sweep = parse_sweep(SHORTEST + text, "s.yaml", FRAMEWORKS)
    nodes = (node("a", 4), node("b", 2))
    (item,) = explain_plan(planned(text, *nodes), sweep, nodes)
    assert item.name == "torch[eager] lenet b64 cpu:4 1t"
    assert item.nodes == ("host-a",)
    assert [entry.reasons for entry in item.elsewhere] == [
        ("needs 4 threads for 4 processes of 1, has 2 cores",)
    ]


def test_more_processes_are_expected_to_take_less_time() -> None:
    one = Task("torch", "eager", "alexnet", 512)
    two = Task("torch", "eager", "alexnet", 512, processes=2)
    assert estimate_s(two) < estimate_s(one)


def test_tasks_of_one_process_have_the_keys_that_they_had() -> None:
    task = Task("torch", "eager", "lenet", 64)
    assert task.key == "d1a9bb443c09d3b3"
    assert "processes" not in task.deciding and "processes" in asdict(task)
    assert Task("torch", "eager", "lenet", 64, processes=2).key != task.key


def test_a_selection_may_name_a_number_of_processes() -> None:
    made = planned("processes: [1, 2]\nthreads: [1]", node("a", 4))
    chosen = parse_selection("processes=2")
    assert {task.processes for task in made.tasks if chosen.matches(task)} == {2}


def test_a_task_on_several_nodes_needs_as_many_that_can_run_it() -> None:
    text = "nodes: [1, 2, 3]\nthreads: [2]\nbatch_sizes: {lenet: [6]}"
    made = planned(text, node("a", 2), node("b", 1), node("c", 2))
    assert {one.task.nodes for one in made.placements} == {1, 2}
    (entry,) = made.unplaceable
    assert (entry.task.nodes, entry.status) == (3, Status.UNPLACEABLE)
    assert entry.reason == "needs 3 nodes, no more than 2 can run it"


def test_each_pair_runs_on_every_two_nodes_of_a_type_in_rounds() -> None:
    nodes = [node(name, 2) for name in "abcd"]
    made = planned("nodes: [1, 2]\nwhere: each-pair\nthreads: [1]", *nodes, node("e", 4))
    pairs = [one.constraint.pair for one in made.placements if one.task.nodes == 2]
    assert sorted(pairs) == [("a", "b"), ("a", "c"), ("a", "d"), ("b", "c"), ("b", "d"), ("c", "d")]
    for first in (0, 2, 4):
        assert {*pairs[first], *pairs[first + 1]} == set("abcd")
    alone = [one.node_id for one in made.placements if one.task.nodes == 1]
    assert sorted(alone) == list("abcde")
