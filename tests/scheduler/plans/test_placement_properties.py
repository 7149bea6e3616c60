"""Plans of drawn sweeps and fleets: properties that every plan has."""

from collections import Counter
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from made_nodes import node

from velodrome.agents.node import Node
from velodrome.agents.task import Limits
from velodrome.scheduler.plans.placement import Placement, make_plan
from velodrome.scheduler.sweeps.expansion import expand_cells
from velodrome.scheduler.sweeps.sweep import Device, Entrant, PlacementRule, Sweep, ThreadRule

gpu_names = st.lists(st.sampled_from(["NVIDIA H100", "NVIDIA A100"]), max_size=3).map(tuple)
fleets = st.lists(
    st.tuples(
        st.integers(1, 4),
        st.integers(1, 2),
        st.sampled_from([8, 32]),
        gpu_names,
        st.sampled_from(["lab", "office"]),
    ),
    max_size=5,
).map(
    lambda rows: [
        node(f"n{number}", cores, smt=smt, gib=gib, gpus=gpus, labels=(("pool", pool),))
        for number, (cores, smt, gib, gpus, pool) in enumerate(rows)
    ]
)
small_sweeps = st.builds(
    Sweep,
    name=st.just("s"),
    entrants=st.just(
        (Entrant("torch", ("eager", "compile"), ("cpu", "gpu")), Entrant("numpy", ("f",), ("cpu",)))
    ),
    models=st.just(("lenet", "lstm")),
    threads=st.lists(
        st.sampled_from([1, 2, 3, 8, *ThreadRule]), min_size=1, max_size=4, unique=True
    ).map(tuple),
    devices=st.lists(
        st.sampled_from([Device(), Device("gpu", 1), Device("gpu", 2), Device("gpu", 1, "h100")]),
        min_size=1,
        max_size=3,
        unique=True,
    ).map(tuple),
    where=st.sampled_from(PlacementRule),
    repeats=st.integers(1, 2),
    limits=st.sampled_from([Limits(), Limits(memory_bytes=16 * 2**30)]),
    labels=st.sampled_from([(), (("pool", "lab"),)]),
)


def fits(one: Placement, host: Node, sweep: Sweep) -> bool:
    """The conditions once more, as plainly as they can be written."""
    task = one.task
    most = host.logical if ThreadRule.LOGICAL in sweep.threads else host.physical
    wanted = [gpu for gpu in host.gpus if task.gpu_model.lower() in gpu.name.lower()]
    return (
        task.threads <= most
        and len(wanted) >= task.gpu_count
        and task.limits.memory_bytes <= host.ram_bytes
        and set(sweep.labels) <= set(host.labels)
    )


@given(small_sweeps, fleets)
@settings(deadline=None)
def test_no_placement_violates_a_condition(sweep: Sweep, fleet: list[Node]) -> None:
    by_id = {one.node_id: one for one in fleet}
    for placement in make_plan(expand_cells(sweep), sweep, fleet, {}).placements:
        assert fits(placement, by_id[placement.node_id], sweep)


@given(small_sweeps, fleets)
@settings(deadline=None)
def test_a_task_and_a_repeat_name_one_placement_and_a_spot_runs_every_repeat(
    sweep: Sweep, fleet: list[Node]
) -> None:
    placements = make_plan(expand_cells(sweep), sweep, fleet, {}).placements
    names = Counter((one.task.key, one.repeat) for one in placements)
    assert set(names.values()) <= {1}
    runs = Counter((one.task, one.spot) for one in placements)
    assert set(runs.values()) <= {sweep.repeats}


@given(small_sweeps, fleets)
@settings(deadline=None)
def test_every_cell_runs_once_per_spot_or_has_a_reason(sweep: Sweep, fleet: list[Node]) -> None:
    once = replace(sweep, repeats=1)
    for cell in expand_cells(once):
        alone = make_plan([cell], once, fleet, {})
        if alone.unplaceable:
            assert alone.placements == ()
            assert [bool(entry.reason) for entry in alone.unplaceable] == [True]
        elif sweep.where is PlacementRule.ANY:
            assert len(alone.placements) == 1
        else:
            spots = [one.spot for one in alone.placements]
            assert spots and len(spots) == len(set(spots))
