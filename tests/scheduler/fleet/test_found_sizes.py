"""One node's search for a batch size serves the other nodes of its type."""

from dataclasses import replace

from made_measurements import make_measurement

from velodrome.agents.measurement import Status
from velodrome.agents.task import AUTO, Task
from velodrome.scheduler.fleet.attempts import Attempt
from velodrome.scheduler.fleet.found_sizes import FoundSizes

TASK = Task("torch", "eager", "lenet", 0, batch_size_rule=AUTO)
ATTEMPT = Attempt(TASK, 1, "n2")


def test_the_size_of_a_measured_task_goes_to_other_nodes_of_its_type_alone() -> None:
    sizes = FoundSizes()
    sizes.record(make_measurement(replace(TASK, batch_size=96), node_type="t1"))
    assert sizes.apply(ATTEMPT, "t1").task == replace(TASK, batch_size=96)
    assert sizes.apply(ATTEMPT, "t2") == ATTEMPT
    other = replace(ATTEMPT, task=replace(TASK, dtype="bfloat16"))
    assert sizes.apply(other, "t1") == other


def test_a_size_that_gave_no_number_goes_nowhere() -> None:
    sizes = FoundSizes()
    failed = replace(TASK, batch_size=96)
    sizes.record(make_measurement(failed, node_type="t1", status=Status.OUT_OF_MEMORY))
    assert sizes.apply(ATTEMPT, "t1") == ATTEMPT


def test_a_size_that_runs_out_of_memory_later_is_given_to_no_other_node() -> None:
    sizes = FoundSizes()
    found = replace(TASK, batch_size=448)
    sizes.record(make_measurement(found, node_type="t1"))
    other = replace(TASK, batch_size=512)
    sizes.record(make_measurement(other, node_type="t1", status=Status.OUT_OF_MEMORY))
    assert sizes.apply(ATTEMPT, "t1").task == found
    sizes.record(make_measurement(found, node_type="t1", status=Status.OUT_OF_MEMORY))
    assert sizes.apply(ATTEMPT, "t1") == ATTEMPT


def test_a_given_size_stays_as_it_is() -> None:
    sizes = FoundSizes()
    given = replace(TASK, batch_size=64, batch_size_rule="")
    sizes.record(make_measurement(given, node_type="t1"))
    attempt = replace(ATTEMPT, task=given)
    assert sizes.apply(attempt, "t1") == attempt
