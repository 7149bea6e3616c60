"""Verdicts of acceptance on links: every two nodes of a type ran the same tasks together."""

import random
from dataclasses import replace
from itertools import combinations

import pytest
from made_fleets import REPEATS, SWEEP, make_fleet, make_node, put

from velodrome.agents.measurement import Measurement
from velodrome.scheduler.reports.acceptance.evidence import UnitKind, collect_evidence
from velodrome.scheduler.reports.acceptance.text import describe_reasons
from velodrome.scheduler.reports.acceptance.verdicts import Acceptance, UnitVerdict, judge_fleet
from velodrome.scheduler.results.store import Store
from velodrome.scheduler.results.typed_rows import task_rows

MODELS = ("lenet", "resnet50-tiny")


def make_pairs(
    nodes: int, slow_links: dict[tuple[int, int], float], slow_nodes: dict[int, float]
) -> list[Measurement]:
    """Make three repeats of each model on every two nodes, which differ by 1 % in each cell."""
    draw = random.Random(3)
    found: list[Measurement] = []
    for place, (first, second) in enumerate(combinations(range(nodes), 2)):
        factor = slow_links.get((first, second), 1.0)
        factor *= max(slow_nodes.get(first, 1.0), slow_nodes.get(second, 1.0))
        times = {model: 10 * factor * draw.gauss(1, 0.01) for model in MODELS}
        leader = {"node_id": f"n{first}", "hostname": f"host{first}"}
        found += [
            replace(
                one,
                **leader,
                task=replace(one.task, nodes=2),
                partner_node_ids=(f"n{second}",),
                partner_hostnames=(f"host{second}",),
                repeat=REPEATS * place + one.repeat,
            )
            for one in make_node(0, times)
        ]
    return found


def judge(store: Store, rows: list[Measurement]) -> dict[str, UnitVerdict]:
    put(store, rows)
    evidence = collect_evidence(task_rows(store.read("tasks", SWEEP)))
    return {one.unit.name: one for one in judge_fleet(evidence)}


def list_failed(found: dict[str, UnitVerdict]) -> list[str]:
    return [name for name, one in found.items() if one.verdict is Acceptance.FAIL]


@pytest.mark.parametrize("nodes", [4, 8])
def test_alike_links_and_nodes_do_not_fail(store: Store, nodes: int) -> None:
    found = judge(store, make_pairs(nodes, {}, {}))
    assert list_failed(found) == []
    links = [one for one in found.values() if one.unit.kind is UnitKind.LINK]
    assert len(links) == nodes * (nodes - 1) // 2
    assert len(found) - len(links) == nodes


@pytest.mark.parametrize("nodes", [4, 8])
def test_a_slow_link_is_named_and_neither_of_its_nodes(store: Store, nodes: int) -> None:
    found = judge(store, make_pairs(nodes, {(1, 2): 1.5}, {}))
    assert list_failed(found) == ["host1 + host2"]
    reason = describe_reasons(found["host1 + host2"])[0]
    assert "slower than its type in the median of its cells" in reason


@pytest.mark.parametrize("nodes", [4, 8])
def test_a_node_whose_links_are_all_slow_is_named(store: Store, nodes: int) -> None:
    found = judge(store, make_pairs(nodes, {}, {2: 1.5}))
    assert "host2" in list_failed(found)
    named = {name for name in list_failed(found) if "host2" not in name.split(" + ")}
    assert named == set()
    assert any("median of its pairs" in reason for reason in describe_reasons(found["host2"]))


def test_tasks_on_two_nodes_say_nothing_of_the_leading_one_alone(store: Store) -> None:
    alone = make_fleet(4, models=MODELS)
    found = judge(store, [*alone, *make_pairs(4, {(0, 1): 1.5}, {})])
    assert list_failed(found) == ["host0 + host1"]
    assert found["host0"].unit.kind is UnitKind.NODE
    assert found["host0"].cells == 2 * len(MODELS)
