"""Names of tasks: every difference between two tasks is in their names."""

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime

import pytest
from made_measurements import make_measurement, make_times
from made_rows import changed_row

from velodrome.adapters.protocol import Timing
from velodrome.agents.measurement import Status
from velodrome.agents.node import Core, Gpu, Node
from velodrome.agents.task import AUTO, Task
from velodrome.scheduler.comparison.cell_names import name_cells
from velodrome.scheduler.comparison.outcome import SelectedSide, compare_sides
from velodrome.scheduler.fleet.event_messages import describe_ended
from velodrome.scheduler.history.cell_series import NodeCell, build_history, label_cells
from velodrome.scheduler.plans.explanations import explain_plan, name_tasks
from velodrome.scheduler.plans.placement import ChosenEnvironment, make_plan
from velodrome.scheduler.reports.cells import collect_cells
from velodrome.scheduler.reports.html.formatting import format_platform
from velodrome.scheduler.reports.tables import build_table
from velodrome.scheduler.results.rows import build_tables
from velodrome.scheduler.results.typed_rows import TaskRow, task_rows
from velodrome.scheduler.sweeps.expansion import expand_cells
from velodrome.scheduler.sweeps.sweep_file import parse_sweep

TASK = Task("torch", "eager", "lenet", 64, device="gpu", gpu_count=1, lock_hash="a1b2")
OTHER = {
    "framework": "jax",
    "variant": "compile",
    "model": "lstm",
    "batch_size": 16,
    "device": "cpu",
    "gpu_count": 2,
    "gpu_model": "A100",
    "threads": 8,
    "dtype": "float64",
    "seed": 7,
    "timing": Timing(max_seconds=2.0),
    "exclusive": False,
    "sampling_hz": 0.0,
    "lock_hash": "c3d4",
    "phases": ("forward", "gradient", "step"),
    "optimizer": "adamw",
    "nodes": 2,
}
ON_CPU = replace(TASK, device="cpu", gpu_count=0)
PAIRS = [
    *(pytest.param(TASK, replace(TASK, **{name: OTHER[name]}), id=name) for name in OTHER),
    # Found, and by chance as large as the other's.
    pytest.param(TASK, replace(TASK, batch_size_rule=AUTO), id="batch_size_rule"),
    pytest.param(ON_CPU, replace(ON_CPU, processes=2), id="processes"),  # a GPU has one
]
ANY = SelectedSide("last", ("1",), 2, 0)
RULES = {"subjects": frozenset(), "least": 0.02}
# The rule takes the size's place in the key, and the hash of a build's locks stands for it.
NOT_IN_KEY = {"limits", "canary", "batch_size_rule", "build"}
ROWS_TELL_NOT = {"timing", "sampling_hz"}  # of these a row of `tasks` keeps the key alone


def row(task: Task, sweep: str = "20261124-063012-00000001") -> TaskRow:
    measured = make_measurement(task, gradient=make_times(1, 1)["gradient"])
    return task_rows(build_tables(sweep, measured)["tasks"])[0]


def test_every_field_of_a_task_key_is_covered() -> None:
    every = replace(
        TASK, phases=OTHER["phases"], optimizer=OTHER["optimizer"], processes=2, nodes=2
    )
    fields = {*OTHER, "processes"}
    assert fields == asdict(TASK).keys() - NOT_IN_KEY == every.deciding.keys()


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_two_tasks_have_two_names_in_a_plan(one: Task, other: Task) -> None:
    assert one.key != other.key
    names = name_tasks([one, other])
    assert names[one] != names[other]


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_two_tasks_have_two_places_in_a_grid(one: Task, other: Task) -> None:
    """A place is a table, a line and a column, as a reader sees them."""
    found = set()
    gathered = collect_cells([row(one), row(other)])
    for block, cells in gathered.items():
        table = build_table(block, cells)
        for line in table.lines:
            for who, entry in zip(table.implementations, line.entries, strict=True):
                if entry.mark:
                    found.add((table.title, format_platform(block), line.workload, who))
    assert len({place[1:] for place in found}) == len({(p[0], *p[2:]) for p in found}) == 2


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_two_cells_of_a_comparison_have_two_names(one: Task, other: Task, request) -> None:
    base = [row(one), row(other)]
    candidate = [row(task, "20261125-063012-00000001") for task in (one, other)]
    outcome = compare_sides((ANY, base), (ANY, candidate), {}, **RULES)
    names = name_cells(outcome)
    cells = [time.pair.candidate[0] for time in outcome.times if time.phase == "gradient"]
    # A sweep of more phases is compared in those that both have; see collect_evidence.
    is_one_cell = request.node.callspec.id in ROWS_TELL_NOT | {"lock_hash", "phases", "optimizer"}
    assert (
        len({names.format_short(cell) for cell in cells}) == len(cells) == (1 if is_one_cell else 2)
    )


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_two_cells_of_a_history_have_two_names(one: Task, other: Task) -> None:
    cells = build_history([row(one), row(other)])
    assert len(set(label_cells(cells).values())) == len(cells)


def test_cells_on_two_gpus_of_a_node_are_distinguished_by_the_gpus() -> None:
    rows = [changed_row(row(TASK), gpu_uuids=[uuid]) for uuid in ("GPU-1", "GPU-2")]
    names = label_cells(map(NodeCell.of, rows))
    assert sorted(name[-5:] for name in names.values()) == ["GPU-1", "GPU-2"]


SWEEP = """
frameworks: [numpy, torch, "torch==2.12.1"]
variants: {torch: [eager, compile]}
models: [lenet, probe-lrn]
batch_sizes: {lenet: [2, 4]}
threads: [1, 2, physical]
devices: [cpu, gpu, "gpu:2", {gpu: A100}, {gpu: A100, count: 2}, {gpu: H100}]
ceilings: true
timing: {max_seconds: 2}
seed: 3
"""


@pytest.fixture(scope="module")
def tasks() -> tuple[Task, ...]:
    return tuple(one.task for one in explained())


def explained() -> Iterator[object]:
    gpus = tuple(Gpu(at, f"NVIDIA {name}", f"GPU-{at}", 2**36) for at, name in enumerate(GPUS))
    node = Node("n1", "h", "CPU", tuple(Core(at, (at,)) for at in range(4)), 2**36, gpus=gpus)
    sweep = parse_sweep(SWEEP, "s.yaml")
    hashes = {("torch", kind): ChosenEnvironment(kind) for kind in ("cpu", "gpu")}
    yield from explain_plan(make_plan(expand_cells(sweep), sweep, (node,), hashes), sweep, (node,))


GPUS = ("A100", "A100", "L4")


def test_all_tasks_of_a_sweep_have_distinct_names_wherever_they_are_shown(tasks) -> None:
    assert len(tasks) > 200
    assert len({one.name for one in explained()}) == len(tasks)
    assert len({task.label for task in tasks}) == len(tasks)
    ended = [make_measurement(task, status=Status.CRASHED, reason="x") for task in tasks]
    lines = {describe_ended(one) for one in ended}
    assert len(lines) == len(tasks)


@pytest.mark.parametrize(
    ("task", "label"),
    [
        (Task("numpy", "float64", "lenet", 4, threads=2), "numpy[float64] lenet b4 cpu 2t"),
        (TASK, "torch[eager] lenet b64 gpu 1t"),
        (replace(ON_CPU, processes=2), "torch[eager] lenet b64 cpu:2 1t"),
        (replace(TASK, gpu_count=2, gpu_model="L4"), "torch[eager] lenet b64 gpu:2 L4 1t"),
        (replace(TASK, dtype="float64"), "torch[eager] lenet b64 gpu 1t float64"),
    ],
)
def test_a_name_is_no_longer_than_necessary(task: Task, label: str) -> None:
    assert task.label == label
    assert name_tasks([task, replace(task, model="lstm")])[task] == label


def test_every_test_case_of_a_nightly_run_has_its_own_name() -> None:
    from velodrome.scheduler.history.false_alarms import estimate_false_alarms
    from velodrome.scheduler.history.latest_run import judge
    from velodrome.scheduler.nightly.junit import format_junit
    from velodrome.scheduler.nightly.nightly_result import NightlyRun
    from velodrome.scheduler.nightly.summary import format_summary

    tasks = [TASK, *(replace(TASK, **{name: OTHER[name]}) for name in OTHER)]
    tasks += [ON_CPU, replace(ON_CPU, processes=2)]
    verdict = judge(build_history(map(row, tasks)), "20261124-063012-00000001")
    run = NightlyRun(
        "n", verdict, estimate_false_alarms(verdict), {}, 1, datetime.now(UTC), 1.0, measured=1
    )
    suite = ET.fromstring(format_junit(run)).find("testsuite")
    names = [(case.get("classname"), case.get("name")) for case in suite.iter("testcase")]
    assert len(set(names)) == len(names) == len(verdict.cells) >= 9
    assert format_summary(run)
