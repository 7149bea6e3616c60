"""The type of a machine in a store: rows of earlier sweeps keep their history."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from velodrome.agents.inventory import take_inventory
from velodrome.agents.node import Core, Gpu, Node
from velodrome.scheduler.plans.alternatives import NodesByType
from velodrome.scheduler.plans.placement import Plan, make_plan
from velodrome.scheduler.results.store import Store
from velodrome.scheduler.sweeps.expansion import expand_cells
from velodrome.scheduler.sweeps.sweep_file import parse_sweep

SWEEP, LATER = "20261124-063012-a1b2", "20261125-063012-a1b2"
TEXT = "frameworks: [numpy]\nmodels: [lenet]\nwhere: each-type\nthreads: [1]\n"
GIB = 2**30


def node(name: str, gib: float) -> Node:
    size = int(gib * GIB)
    cores = (Core(0, (0,)),)
    return Node(name, name, "CPU", cores, size, machine_ram_bytes=size, machine_cpus=1)


def test_a_node_has_the_type_of_its_rows(placed: Store) -> None:
    before, after = node("n1", 15.51), node("n1", 15.49)
    placed.begin(SWEEP, TEXT, Plan())
    placed.put_nodes(SWEEP, [before])
    placed.compact(SWEEP)
    (kept,) = placed.nodes(SWEEP)
    named = placed.types().with_type_name(after)
    assert named.node_type == kept.node_type == before.node_type != after.node_type
    placed.put_nodes(LATER, [named])
    assert {one.node_type for one in placed.nodes(LATER)} == {before.node_type}


def test_the_memory_of_its_gpus_is_read_from_the_rows_of_a_node(placed: Store) -> None:
    def with_gpu(name: str, gib: int) -> Node:
        return replace(node(name, 15), gpus=(Gpu(0, "NVIDIA A100", f"GPU-{name}", gib * GIB),))

    small = with_gpu("n1", 40)
    placed.begin(SWEEP, TEXT, Plan())
    placed.put_nodes(SWEEP, [small])
    types = placed.types()
    assert types.with_type_name(with_gpu("n2", 80)).node_type != small.node_type
    assert types.with_type_name(with_gpu("n3", 40)).node_type == small.node_type


def test_equal_machines_are_one_node_type_and_stay_one(store: Store) -> None:
    sweep = parse_sweep(TEXT, "s.yaml")
    types = store.types()
    fleet = [
        types.with_type_name(node(name, gib))
        for name, gib in (("a", 15.49), ("b", 15.51), ("c", 31))
    ]
    made = make_plan(expand_cells(sweep), sweep, fleet, {})
    assert len({one.spot for one in made.placements}) == 2
    store.begin(SWEEP, TEXT, made)
    store.put_nodes(SWEEP, fleet)
    # After a reboot, in another order.
    again = store.types()
    rebooted = [
        again.with_type_name(node(name, gib))
        for name, gib in (("b", 15.45), ("a", 15.6), ("c", 31.3))
    ]
    resumed = make_plan(expand_cells(sweep), sweep, rebooted, {}, store.repeat_numbers(SWEEP))
    assert {one.spot for one in resumed.placements} == {one.spot for one in made.placements}
    assert {one.repeat for one in resumed.placements} == {one.repeat for one in made.placements}
    assert {NodesByType().name_type(one) for one in rebooted} == {
        one.spot for one in made.placements
    }


@pytest.mark.slow
def test_measurements_after_an_upgrade_continue_the_history_of_a_machine(
    tmp_path,
) -> None:
    results = tmp_path / "results"
    here = take_inventory()
    # As an earlier kernel left it memory, and an earlier Velodrome wrote its type.
    size = round(here.machine_ram_bytes * 1.02)
    earlier = replace(
        here, ram_bytes=size, machine_ram_bytes=0, machine_cpus=0, type_name="0ld0ld0ld0"
    )
    Store(results).begin(SWEEP, TEXT, Plan())
    Store(results).put_nodes(SWEEP, [earlier])
    words = ["measure", "numpy", "autoencoder-400-200-100/ae1", "--batch-size", "2"]
    words += ["--threads", "1", "--max-seconds", "0.1", "--results", str(results), "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "velodrome.scheduler.cli", *words],
        env=os.environ | {"VELODROME_PYTHON_NUMPY": sys.executable},
        capture_output=True,
        text=True,
    )
    assert json.loads(done.stdout)["node_type"] == "0ld0ld0ld0", done.stderr


def test_an_unreadable_sweep_does_not_affect_type_names_of_another(place, placed: Store) -> None:
    for sweep_id, name in ((SWEEP, "n1"), (LATER, "n2")):
        placed.begin(sweep_id, TEXT, Plan())
        placed.put_nodes(sweep_id, [replace(node(name, 15.51), cpu_model=name)])
    (path,) = [path for path in place.paths("nodes") if SWEEP in path]
    place.write(path, b"no Parquet")
    named = placed.types().with_type_name(replace(node("n2", 15.49), cpu_model="n2"))
    assert named.node_type == replace(node("n2", 15.51), cpu_model="n2").node_type
