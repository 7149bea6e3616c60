"""A process uses the GPUs that it was given, and those of others stay theirs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from velodrome.agents.gpu_allotment import (
    RAYLET,
    find_allotment,
    limit_to_ray,
    read_given_variables,
    select_gpus,
)
from velodrome.agents.node import Core, Gpu, Node

GIB = 2**30


def gpu(index: int, uuid: str = "", name: str = "NVIDIA L40S") -> Gpu:
    return Gpu(index, name, uuid or f"GPU-{index}{index}aa-0000", 48 * GIB)


FOUR = tuple(map(gpu, range(4)))
ALIKE = (gpu(0, "GPU-12aa"), gpu(1, "GPU-12ab"), gpu(2, "GPU-34cc"))
PARTS = (gpu(0, "MIG-1a"), gpu(0, "MIG-1b"), gpu(1, "GPU-9"))

INVENTORY = """
import json
from velodrome.agents.inventory import take_inventory
node = take_inventory()
print(json.dumps([[gpu.index for gpu in node.gpus], node.gpu_note]))
"""


@pytest.mark.parametrize(
    ("gpus", "visible", "indices"),
    [
        (FOUR, "2", [2]),
        (FOUR, "3,1", [1, 3]),  # in the order of the driver
        (FOUR, " 0 , 1 ", [0, 1]),
        (FOUR, "", []),
        (FOUR, "-1", []),
        (FOUR, "NoDevFiles", []),
        (FOUR, "0,2,-1,1", [0, 2]),  # the example of CUDA's guide
        (FOUR, "0,7,1", [0]),
        (FOUR, "0,0", [0]),
        (FOUR, "GPU-11aa-0000,3", [1, 3]),
        (ALIKE, "GPU-34", [2]),
        (ALIKE, "2,GPU-12,1", [2]),  # of two GPUs, so of none
        (ALIKE, "GPU-12ab", [1]),
    ],
)
def test_a_variable_selects_the_gpus_that_cuda_would_show(
    gpus: tuple[Gpu, ...], visible: str, indices: list[int]
) -> None:
    assert [each.index for each in select_gpus(gpus, visible)] == indices


def test_mig_instances_are_selected_by_uuid_and_the_number_of_their_gpu_means_the_first() -> None:
    assert [each.uuid for each in select_gpus(PARTS, "MIG-1b")] == ["MIG-1b"]
    assert [each.uuid for each in select_gpus(PARTS, "0,1")] == ["MIG-1a", "GPU-9"]


def test_without_the_variable_every_gpu_belongs_to_the_process() -> None:
    assert find_allotment(FOUR, {}).gpus == FOUR
    assert find_allotment(FOUR, {"CUDA_VISIBLE_DEVICES": "0,1,2,3"}).note == ""


def test_numbers_of_different_models_are_ambiguous_unless_cuda_counts_by_pci_bus() -> None:
    mixed = (gpu(0, name="NVIDIA T4"), gpu(1, name="NVIDIA H100"))
    variables = {"CUDA_VISIBLE_DEVICES": "0"}
    assert "CUDA_DEVICE_ORDER=PCI_BUS_ID" in find_allotment(mixed, variables).note
    sure = find_allotment(mixed, {**variables, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"})
    assert sure.note == "1 of 2 GPUs belongs to this allotment (CUDA_VISIBLE_DEVICES=0)"
    assert "ORDER" not in find_allotment(FOUR, variables).note


def test_the_inventory_holds_only_the_gpus_of_this_process(fake_driver: Path) -> None:
    variables = {
        "LD_LIBRARY_PATH": str(fake_driver),
        "FAKE_NVML": "NVIDIA L40S:3",
        "CUDA_VISIBLE_DEVICES": "2,GPU-fa4e0000-0000-0000-0000-000000000000",
    }
    command = [sys.executable, "-c", INVENTORY]
    done = subprocess.run(command, env=os.environ | variables, stdout=subprocess.PIPE, check=True)
    indices, note = json.loads(done.stdout)
    assert indices == [0, 2]
    assert note.startswith("2 of 3 GPUs belong to this allotment (CUDA_VISIBLE_DEVICES=2,GPU-")


def test_in_a_ray_worker_the_variables_of_its_raylet_count(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "environ").write_bytes(b"A=1\0CUDA_VISIBLE_DEVICES=4,5\0")
    (tmp_path / "7" / "comm").write_text(f"{RAYLET}\n")
    assert read_given_variables(tmp_path, 7)["CUDA_VISIBLE_DEVICES"] == "4,5"
    (tmp_path / "7" / "comm").write_text("bash\n")
    assert read_given_variables(tmp_path, 7) is os.environ
    assert read_given_variables(tmp_path, 8) is os.environ


def test_a_node_has_as_many_gpus_as_its_ray_counts() -> None:
    node = Node("n1", "n1", "CPU", (Core(0, (0,)),), GIB, gpus=FOUR)
    assert limit_to_ray(node, 4) is node
    limited = limit_to_ray(node, 2)
    assert limited.gpus == FOUR[:2]
    assert limited.gpu_note == "2 of 4 GPUs belong to this allotment (Ray counts 2)"
    assert limit_to_ray(node, 0).gpu_note.startswith("none of 4 GPUs belong ")
    parts = Node("n2", "n2", "CPU", (Core(0, (0,)),), GIB, gpus=PARTS[:2])
    assert limit_to_ray(parts, 1) is parts  # Ray counts the GPU, not its instances
    assert limit_to_ray(parts, 0).gpus == ()
