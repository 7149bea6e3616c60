"""The end of a task on several nodes: attributed to the process that ended first by itself."""

from dataclasses import replace

import pytest

from velodrome.adapters.protocol import Phase
from velodrome.agents.group_members import MemberEnd
from velodrome.agents.measurement import (
    EndOrigin,
    Measurement,
    PhaseEnergy,
    PhaseMeans,
    Reading,
    Status,
)
from velodrome.agents.node import Core, Node
from velodrome.agents.sampling.utilization import Utilization, summarize_utilization
from velodrome.agents.task import Task
from velodrome.scheduler.fleet.attempts import Attempt
from velodrome.scheduler.fleet.group_ends import PartEnd, judge_group
from velodrome.scheduler.fleet.pending_work import make_unmeasured
from velodrome.scheduler.fleet.transport import WorkFailed
from velodrome.scheduler.results.rows import build_tables
from velodrome.scheduler.results.typed_rows import task_rows

LOST_TWO = "rank 1 of 3 at 10.0.0.2:4711: the connection is lost"
GLOO = "RuntimeError: Connection closed by peer [10.0.0.3]:4711"
ATTEMPT = Attempt(Task("torch", "eager", "lenet", 64, nodes=3), 0, "one")


def node(name: str) -> Node:
    return Node(name, name, "a CPU", (Core(0, (0,)),), 2**34, ())


def led(status: Status, reason: str, origin: EndOrigin) -> Measurement:
    """The end as the leading node, `one`, has seen it."""
    return replace(make_unmeasured(ATTEMPT, status, reason, "", node("one")), origin=origin)


def ended(
    name: str,
    reason: str,
    origin: EndOrigin = EndOrigin.OWN,
    at_s: float = 1.0,
    status: Status = Status.CRASHED,
) -> PartEnd:
    return PartEnd(node(name), MemberEnd(name, status, reason, origin), noticed_s=at_s)


def lost(name: str, reason: str = "NodeDiedError") -> PartEnd:
    return PartEnd(node(name), lost=reason, noticed_s=1.0)


def gone_with_the_leader(name: str, at_s: float = 1.0) -> PartEnd:
    reason = "the leader of the group is gone"
    return ended(name, reason, EndOrigin.PEER, at_s, Status.LOST)


def test_a_killed_process_is_the_cause_and_not_the_node_that_was_told_first() -> None:
    parts = [gone_with_the_leader("two", 0.5), ended("three", "killed by SIGKILL", at_s=2.0)]
    found = judge_group(led(Status.LOST, LOST_TWO, EndOrigin.PEER), 0.4, parts)
    assert isinstance(found, Measurement)
    assert found.status is Status.CRASHED
    assert found.reason == f"three: killed by SIGKILL; one noticed: {LOST_TWO}"
    assert found.partner_hostnames == ("two", "three")


def test_an_error_of_a_collective_is_not_the_cause_if_another_process_was_killed() -> None:
    """Whoever waits for a killed process gets an error of its own, and may tell of it first."""
    parts = [ended("two", GLOO, EndOrigin.ERROR, 0.2), ended("three", "killed by SIGKILL")]
    found = judge_group(led(Status.CRASHED, f"rank 1 of 3: {GLOO}", EndOrigin.ERROR), 0.1, parts)
    assert isinstance(found, Measurement)
    assert found.reason.startswith("three: killed by SIGKILL; one noticed: rank 1 of 3: Runtime")


def test_lack_of_memory_on_another_node_is_the_status_of_the_whole_task() -> None:
    used = "used 1.10 GiB, the limit is 1.00 GiB"
    parts = [
        ended("two", GLOO, EndOrigin.ERROR, 0.1),
        ended("three", used, at_s=0.9, status=Status.OUT_OF_MEMORY),
    ]
    found = judge_group(led(Status.LOST, LOST_TWO, EndOrigin.PEER), 0.4, parts)
    assert isinstance(found, Measurement)
    assert found.status is Status.OUT_OF_MEMORY
    assert found.reason.startswith(f"three: {used}")


@pytest.mark.parametrize(
    ("two_s", "three_s", "cause"), [(0.2, 0.3, "two: ValueError"), (0.3, 0.2, "three: RuntimeErr")]
)
def test_of_two_errors_that_which_was_noticed_first_is_the_cause(two_s, three_s, cause) -> None:
    parts = [
        ended("two", "ValueError: planted", EndOrigin.ERROR, two_s),
        ended("three", GLOO, EndOrigin.ERROR, three_s),
    ]
    found = judge_group(led(Status.LOST, LOST_TWO, EndOrigin.PEER), 0.1, parts)
    assert isinstance(found, Measurement)
    assert found.reason.startswith(cause)


def test_the_leading_process_is_the_cause_if_it_ended_by_itself() -> None:
    parts = [ended("two", GLOO, EndOrigin.ERROR, 0.1), gone_with_the_leader("three", 0.1)]
    for status, reason in [
        (Status.CRASHED, "killed by SIGSEGV"),
        (Status.TIMED_OUT, "not finished after 900 s"),
        (Status.DISAGREED, "gradients are off"),
    ]:
        found = judge_group(led(status, reason, EndOrigin.OWN), 0.4, parts)
        assert isinstance(found, Measurement)
        assert (found.status, found.reason) == (status, reason)


@pytest.mark.parametrize("seen", [EndOrigin.PEER, EndOrigin.ERROR])
def test_a_lost_node_is_the_cause_of_its_peers_errors_and_the_task_runs_again(seen) -> None:
    status = Status.LOST if seen is EndOrigin.PEER else Status.CRASHED
    parts = [ended("two", GLOO, EndOrigin.ERROR, 0.1), lost("three")]
    found = judge_group(led(status, GLOO, seen), 0.2, parts)
    assert found == WorkFailed(f"{GLOO}; three: NodeDiedError")


def test_a_process_that_was_killed_is_the_cause_although_a_node_is_lost_later() -> None:
    parts = [ended("two", "killed by SIGKILL"), lost("three")]
    found = judge_group(led(Status.LOST, LOST_TWO, EndOrigin.PEER), 0.2, parts)
    assert isinstance(found, Measurement)
    assert found.status is Status.CRASHED


def test_nodes_that_only_lost_each_other_run_the_task_again() -> None:
    """A link between two nodes is down, or a firewall stands there, and the driver sees both."""
    parts = [gone_with_the_leader("two"), PartEnd(node("three"))]
    found = judge_group(led(Status.LOST, LOST_TWO, EndOrigin.PEER), 0.2, parts)
    assert found == WorkFailed(LOST_TWO)


def test_a_measured_task_keeps_its_number_whatever_ends_later() -> None:
    parts = [ended("two", "killed by SIGKILL"), lost("three")]
    found = judge_group(led(Status.OK, "", EndOrigin.OWN), 0.2, parts)
    assert isinstance(found, Measurement)
    assert found.status is Status.OK
    assert found.notes == ("on 3 nodes, with two, three",)


def used(percent: float, energy_uj: int | None = None) -> Utilization:
    """The utilization of a node over ten seconds of gradients, from its readings."""
    readings = [
        Reading(
            second * 10**9,
            "",
            percent,
            2**20,
            1,
            package_energy_uj=None if energy_uj is None else second * energy_uj // 10,
        )
        for second in range(11)
    ]
    return summarize_utilization(readings, [Phase("gradient", 0)], ended_ns=10 * 10**9)


def measured(own: Utilization, *others: Utilization) -> Measurement:
    led_by = replace(
        led(Status.OK, "", EndOrigin.OWN),
        means=own.means,
        energy_j=own.energy_j,
        energy_source=own.energy_source,
        energy_reason=own.energy_reason,
        energies=(PhaseEnergy("gradient", 1.0),),
    )
    names = ("two", "three")
    ends = [MemberEnd(name, Status.OK, used=each) for name, each in zip(names, others, strict=True)]
    found = judge_group(led_by, 0.0, [PartEnd(node(end.hostname), end) for end in ends])
    assert isinstance(found, Measurement)
    return found


def test_the_means_of_the_other_nodes_are_kept_in_their_order() -> None:
    found = measured(used(90.0), used(80.0), used(70.0))
    (two,), (three,) = found.partner_means
    assert two == PhaseMeans("gradient", cpu_percent=pytest.approx(80.0))
    assert three.cpu_percent == pytest.approx(70.0)
    row = build_tables("20261124-063012-00000001", found)["tasks"].to_pylist()[0]
    assert row["partner_gradient_cpu_percent_means"] == pytest.approx([80.0, 70.0])
    assert row["partner_gradient_gpu_percent_means"] == [None, None]
    assert row["partner_forward_cpu_percent_means"] == [None, None]
    (typed,) = task_rows(build_tables("20261124-063012-00000001", found)["tasks"])
    assert typed.partner_gradient_gpu_percent_means == (None, None)


def test_the_energy_of_a_group_is_that_of_all_its_nodes() -> None:
    found = measured(used(90.0, 5_000_000), used(80.0, 7_000_000), used(70.0, 8_000_000))
    assert found.energy_j == pytest.approx(20.0)
    assert found.energies == ()
    assert "its energy is that of all its nodes" in found.notes


def test_the_energy_of_a_group_is_unknown_if_one_node_does_not_know_its_own() -> None:
    found = measured(used(90.0, 5_000_000), used(80.0, 7_000_000), used(70.0))
    assert (found.energy_j, found.energy_source) == (None, "unavailable")
    assert found.energy_reason.startswith("that of three is unknown: ")
