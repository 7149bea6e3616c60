"""Node types: the machines of one type, and the changes that keep a machine's type."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from velodrome.agents.node import Core, Gpu, Node
from velodrome.agents.node_types import (
    MEMORY_TOLERANCE,
    NodeTypes,
    TypedNode,
    are_alike,
    hardware_of,
)

GIB = 2**30
GPU = Gpu(0, "NVIDIA A100-SXM4-40GB", "GPU-1", 40 * GIB)
NODE = Node(
    "n1",
    "host1",
    "AMD EPYC 7B13",
    tuple(Core(number, (2 * number, 2 * number + 1)) for number in range(4)),
    int(15.51 * GIB),
    gpus=(GPU,),
    machine_ram_bytes=int(15.51 * GIB),
    machine_cpus=8,
)
sizes = st.integers(GIB // 4, 4096 * GIB)


def with_memory(size_bytes: int, node_id: str = "n1") -> Node:
    return replace(NODE, node_id=node_id, ram_bytes=size_bytes, machine_ram_bytes=size_bytes)


def types_after(node: Node) -> NodeTypes:
    """Return the types of a run after one that recorded this node."""
    return NodeTypes([[TypedNode(node.node_type, node.node_id, hardware_of(node))]])


@given(sizes, st.floats(1 - MEMORY_TOLERANCE + 1e-6, 1), st.sampled_from(["n1", "n2"]))
def test_a_small_difference_in_memory_keeps_the_type(size: int, share: float, node_id: str) -> None:
    one, other = with_memory(size), with_memory(round(size * share), node_id)
    assert types_after(one).with_type_name(other).node_type == one.node_type
    assert types_after(other).with_type_name(one).node_type == other.node_type


def test_a_new_kernel_keeps_the_type_of_a_machine_near_a_rounding_boundary() -> None:
    before, after = with_memory(int(15.51 * GIB)), with_memory(int(15.49 * GIB))
    assert before.node_type != after.node_type  # by themselves: memory is hashed in whole GiB
    assert types_after(before).with_type_name(after).node_type == before.node_type


def test_equal_machines_of_a_fleet_are_one_type_and_larger_machines_another() -> None:
    types = NodeTypes()
    alike = [with_memory(int(size * GIB), f"n{size}") for size in (15.3, 15.49, 15.51, 15.6)]
    larger = with_memory(int(17 * GIB), "n17")
    names = [types.with_type_name(node).node_type for node in (*alike, larger)]
    assert len(set(names[:-1])) == 1
    assert names[-1] not in names[:-1]


@given(sizes, st.floats(1.04, 100))
def test_a_large_difference_in_memory_makes_another_type(size: int, factor: float) -> None:
    one, other = with_memory(size), with_memory(round(size * factor), "n2")
    assert types_after(one).with_type_name(other).node_type != one.node_type


@given(st.lists(st.floats(0.9, 1.1), min_size=1, max_size=12))
def test_no_two_machines_of_one_type_differ_by_more_than_the_tolerance(
    factors: list[float],
) -> None:
    types = NodeTypes()
    sizes_of: dict[str, list[float]] = {}
    for number, factor in enumerate(factors):
        node = with_memory(int(64 * GIB * factor), f"n{number}")
        sizes_of.setdefault(types.with_type_name(node).node_type, []).append(node.ram_bytes)
    for of_type in sizes_of.values():
        assert min(of_type) >= (1 - MEMORY_TOLERANCE) * max(of_type) - 1


def test_a_container_that_may_use_8_gib_is_no_machine_of_8_gib() -> None:
    machine = with_memory(8 * GIB)
    container = replace(machine, node_id="n2", machine_ram_bytes=64 * GIB)
    types = NodeTypes()
    assert types.with_type_name(machine).node_type != types.with_type_name(container).node_type
    assert container.node_type != machine.node_type  # even if one of them is unknown


OTHER = {
    "cpu_model": "AMD EPYC 9B14",
    "cores": NODE.cores[:2],
    "gpus": (GPU, replace(GPU, index=1, uuid="GPU-2")),
    "machine_cpus": 64,
    "ram_bytes": 8 * GIB,
    "machine_ram_bytes": 64 * GIB,
}


@pytest.mark.parametrize("name", OTHER)
def test_every_other_reading_makes_another_type(name: str) -> None:
    other = replace(NODE, node_id="n2", **{name: OTHER[name]})
    types = NodeTypes()
    assert types.with_type_name(NODE).node_type != types.with_type_name(other).node_type


@pytest.mark.parametrize(
    "changed",
    [
        {"kernel": "6.9"},
        {"hostname": "renamed"},
        {"governor": "powersave"},
        {"caches": "L3 32 MiB"},
        {"sockets": 2},
        {"numa_nodes": 2},
        {"virtualization": "KVM"},
        {"free_disk_bytes": 5},
        {"gpus": (replace(GPU, name="A100-SXM4-40GB"),)},  # a driver before 465
        {"gpus": (replace(GPU, uuid="GPU-7", driver="999", power_limit_w=3.0),)},
        {"cpu_model": "AMD  EPYC 7B13 "},
    ],
)
def test_readings_outside_the_type_do_not_change_it(changed: dict[str, object]) -> None:
    assert types_after(NODE).with_type_name(replace(NODE, **changed)).node_type == NODE.node_type


def with_gpu_memory(gib: float, node_id: str = "n1", name: str = "NVIDIA A100") -> Node:
    gpu = replace(GPU, name=name, memory_bytes=int(gib * GIB))
    return replace(NODE, node_id=node_id, gpus=(gpu,))


def test_gpus_of_one_name_and_different_memory_make_different_types() -> None:
    types = NodeTypes()
    fleet = [with_gpu_memory(gib, f"n{gib}") for gib in (40, 80, 39.5, 79.2)]
    small, large, also_small, also_large = (types.with_type_name(one).node_type for one in fleet)
    assert small == also_small != large == also_large


def test_ecc_and_an_unknown_size_of_a_gpu_keep_the_type() -> None:
    with_ecc, without = with_gpu_memory(22.5), with_gpu_memory(24, "n2")
    assert types_after(with_ecc).with_type_name(without).node_type == with_ecc.node_type
    unknown = with_gpu_memory(0, "n2")
    assert types_after(with_ecc).with_type_name(unknown).node_type == with_ecc.node_type
    record = TypedNode("old", "n1", replace(hardware_of(with_ecc), gpu_bytes=()))
    assert NodeTypes([[record]]).with_type_name(with_gpu_memory(80)).node_type == "old"


def test_gpus_of_several_models_are_compared_each_with_its_own_kind() -> None:
    t4, l4 = (with_gpu_memory(gib, name=name).gpus[0] for gib, name in ((15, "T4"), (23, "L4")))
    one, other = replace(NODE, gpus=(t4, l4)), replace(NODE, node_id="n2", gpus=(l4, t4))
    assert types_after(one).with_type_name(other).node_type == one.node_type


def test_a_run_with_a_broken_driver_keeps_the_type_and_so_does_the_next_run() -> None:
    broken = replace(NODE, gpus=(), gpu_fault="the driver hangs")
    types = types_after(NODE)
    assert types.with_type_name(broken).node_type == NODE.node_type
    # Its record has no GPU and no fault.
    record = TypedNode(NODE.node_type, "n1", hardware_of(replace(broken, gpu_fault="")))
    later = NodeTypes([[record], [TypedNode(NODE.node_type, "n1", hardware_of(NODE))]])
    assert later.with_type_name(NODE).node_type == NODE.node_type
    stranger = replace(broken, node_id="n2")
    assert types_after(NODE).with_type_name(stranger).node_type != NODE.node_type


def test_a_value_missing_from_an_earlier_record_is_no_difference() -> None:
    limited = replace(NODE, ram_bytes=8 * GIB, machine_ram_bytes=64 * GIB, machine_cpus=64)
    old = replace(limited, machine_ram_bytes=0, machine_cpus=0)
    assert types_after(old).with_type_name(limited).node_type == old.node_type
    # But the name is not for both that this old record may be of.
    types = types_after(old)
    names = {
        types.with_type_name(one).node_type
        for one in (limited, replace(with_memory(8 * GIB, "n9")))
    }
    assert len(names) == 2


def test_a_type_name_in_use_is_not_given_to_another_type() -> None:
    """Rounded to whole GiB, 1.6 and 2.4 are equal."""
    small, large = with_memory(int(1.6 * GIB)), with_memory(int(2.4 * GIB), "n2")
    assert small.node_type == large.node_type
    types = types_after(small)
    assert types.with_type_name(large).node_type != small.node_type
    assert types.with_type_name(small).node_type == small.node_type


def test_a_type_name_belongs_to_its_last_bearer_and_the_newest_name_is_given() -> None:
    old, new = with_memory(int(15.45 * GIB)), with_memory(int(15.55 * GIB))
    split = [[TypedNode(node.node_type, "n1", hardware_of(node))] for node in (new, old)]
    came = with_memory(int(15.5 * GIB), "n2")
    assert NodeTypes(split).with_type_name(came).node_type == new.node_type
    assert are_alike(hardware_of(old), hardware_of(new))
