"""AMD's GPUs by the kernel's files, which are made up: none of this ever ran on an AMD GPU."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from made_up_sys import DISPLAY, GIB, MI210, NETWORK_CARD, TPU, XPU, MadeUpSys

from velodrome.agents.environments.accelerators import name_accelerator, rank
from velodrome.agents.gpu_allotment import find_allotment
from velodrome.agents.isolation.worker_variables import worker_variables
from velodrome.agents.measurement import GpuReading
from velodrome.agents.node import Gpu
from velodrome.agents.sampling import amd_gpus
from velodrome.agents.sampling.amd_meter import AmdMeter
from velodrome.agents.sampling.driver import query_gpus, query_other_makers
from velodrome.agents.sampling.nvml import HOST_PID_NAMESPACE

UUID = "GPU-000000000000abc1"


def test_an_amd_gpu_is_found_with_its_memory_limit_and_place(sys_folder: MadeUpSys) -> None:
    sys_folder.add_mi210s(2)
    sys_folder.write({"module/amdgpu/version": "6.12.12"})
    found = query_gpus()
    first = Gpu(0, "AMD Instinct MI210", UUID, 64 * GIB, "amdgpu 6.12.12", 300.0, "", 1)
    second = replace(first, index=1, uuid="GPU-000000000000abc2")
    assert (found.gpus, found.faults, found.others) == ((first, second), (), "")
    assert first.is_amd


def test_a_board_without_product_or_id_is_named_by_architecture_and_address(
    sys_folder: MadeUpSys,
) -> None:
    sys_folder.add_device("0000:03:00.0", {**MI210, "product_name": ""}, "amdgpu")
    sys_folder.add_compute_node(1, 3)
    (gpu,) = query_gpus().gpus
    assert (gpu.name, gpu.uuid) == ("AMD gfx90a 740f", "AMD-0000:03:00.0")


def test_amd_gpus_that_cannot_be_used_are_faults_with_the_mend(
    sys_folder: MadeUpSys, monkeypatch: pytest.MonkeyPatch
) -> None:
    sys_folder.add_mi210s(1)
    sys_folder.add_compute_node(2, 0x41, 0xABC9)
    sys_folder.add_device("0000:61:00.0", MI210)
    found = query_gpus()
    assert found.gpus == ()
    divided, bare = map(str, found.faults)
    assert divided.startswith("the AMD GPU at 0000:41:00.0 is divided into 2 partitions")
    assert bare.startswith("the AMD GPU 740f at 0000:61:00.0 has no loaded kernel module. Run")
    monkeypatch.setattr(amd_gpus, "COMPUTE_DEVICE", Path("/nowhere/kfd"))
    (sys_folder.root / "class/kfd/kfd/topology/nodes/2/properties").unlink()
    (denied,) = map(str, query_gpus().faults)
    assert denied.startswith("the AMD driver denies this user access to /nowhere/kfd. Add this")


def test_accelerators_that_no_task_can_use_are_named_with_the_reason(
    sys_folder: MadeUpSys,
) -> None:
    for at, (files, driver) in enumerate(
        [(XPU, "xe"), (XPU, "xe"), (TPU, "vfio-pci"), (NETWORK_CARD, "gve"), (DISPLAY, "ast")]
    ):
        sys_folder.add_device(f"0000:0{at}:00.0", files, driver)
    sys_folder.add_device("0000:09:00.0", {**XPU, "vendor": "0x1da3", "class": "0x120000"}, "hl")
    sys_folder.add_device("0000:0a:00.0", MI210, "amdgpu")  # without a compute node
    (sys_folder.root / "class/drm/card0/device").mkdir(parents=True)
    (sys_folder.root / "class/drm/card0/device/driver").symlink_to("../drivers/asahi")
    assert query_gpus().gpus == ()
    assert query_gpus().others.split(", ") == [
        "2 x Intel GPU 0bda (no framework is locked for XPU)",
        "Google TPU v5e (no framework is locked for TPUs)",
        "Intel Gaudi accelerator 0bda (no framework is locked for Gaudi)",
        "AMD GPU 740f (its compute driver (/dev/kfd) does not show it to this process)",
        "Apple GPU (no framework is locked for Apple's GPUs)",
    ]
    assert "AMD GPU 740f (not used beside NVIDIA's)" in query_other_makers(has_nvidia=True).others


def test_rocm_is_an_accelerator_of_its_own_that_no_cuda_build_serves() -> None:
    gpu = Gpu(0, "AMD Instinct MI210", UUID, 64 * GIB)
    assert name_accelerator(0, (gpu,)) == "rocm"
    assert rank("rocm", ("cuda13", "gpu", "cpu")) is None
    assert rank("rocm", ("rocm",)) == 0
    assert rank("gpu", ("rocm", "cpu")) is None


def test_a_worker_gets_amd_gpus_by_rocms_variable(tmp_path: Path) -> None:
    def variables(*gpus: Gpu) -> dict[str, str]:
        made = worker_variables(
            {"HIP_VISIBLE_DEVICES": "7"},
            import_path="",
            home=tmp_path,
            temporary=tmp_path,
            threads=1,
            gpus=gpus,
        )
        return {name: value for name, value in made.items() if "VISIBLE" in name}

    gpu = Gpu(0, "AMD Instinct MI210", UUID, 64 * GIB)
    nameless = replace(gpu, index=3, uuid="AMD-0000:03:00.0")
    assert variables(gpu, nameless) == {"ROCR_VISIBLE_DEVICES": f"{UUID},3"}
    assert variables() == {"CUDA_VISIBLE_DEVICES": ""}


@pytest.mark.parametrize(
    ("variables", "indexes"),
    [
        ({}, [0, 1, 2, 3]),
        ({"ROCR_VISIBLE_DEVICES": "1,3"}, [1, 3]),
        ({"ROCR_VISIBLE_DEVICES": "GPU-2"}, [2]),
        ({"ROCR_VISIBLE_DEVICES": "1,3", "HIP_VISIBLE_DEVICES": "1"}, [3]),
        ({"ROCR_VISIBLE_DEVICES": "1,3", "CUDA_VISIBLE_DEVICES": "0"}, [1]),
        ({"HIP_VISIBLE_DEVICES": "2", "CUDA_VISIBLE_DEVICES": "0"}, [2]),
        ({"HIP_VISIBLE_DEVICES": ""}, []),
    ],
)
def test_only_the_amd_gpus_of_an_allotment_are_used(
    variables: dict[str, str], indexes: list[int]
) -> None:
    four = [Gpu(at, "AMD Instinct MI210", f"GPU-{at}", 64 * GIB) for at in range(4)]
    given = find_allotment(four, variables)
    assert [gpu.index for gpu in given.gpus] == indexes
    assert bool(given.note) == (len(indexes) < 4)


def test_the_counters_of_an_amd_gpu_are_read_in_our_units(sys_folder: MadeUpSys) -> None:
    sys_folder.add_mi210s(1)
    own = os.getpid()
    processes = "class/kfd/kfd/proc"
    sys_folder.write({f"{processes}/{own}/vram_177": str(2 * GIB)})
    sys_folder.write({f"{processes}/1/vram_177": str(GIB), f"{processes}/2/vram_177": "0"})
    meter = AmdMeter([(0, UUID)], namespace=HOST_PID_NAMESPACE, cost_ns=lambda: 0)
    (reading,) = meter.read({own})
    ((other,),) = [reading.other_processes or ()]
    assert (other.pid, other.memory_bytes) == (1, GIB)
    assert replace(reading, other_processes=None) == GpuReading(
        index=0,
        uuid=UUID,
        percent=87.0,
        memory_percent=41.0,
        memory_bytes=3 * GIB,
        process_memory_bytes=2 * GIB,
        power_w=212.0,
        temperature_c=54.0,
        sm_mhz=1700,
    )


def test_newer_sensors_win_and_what_is_not_stated_is_unknown(sys_folder: MadeUpSys) -> None:
    sensors = "bus/pci/devices/0000:41:00.0/hwmon/hwmon3"
    sys_folder.add_mi210s(1)
    sys_folder.write({f"{sensors}/power1_input": "250500000", f"{sensors}/temp2_input": "61000"})
    for name in (f"{sensors}/temp1_input", f"{sensors}/../../mem_busy_percent"):
        (sys_folder.root / name).unlink()
    (reading,) = AmdMeter([(0, UUID)]).read(())
    assert (reading.power_w, reading.temperature_c) == (250.5, 61.0)
    unknown = (reading.memory_percent, reading.energy_mj, reading.throttle_reasons)
    assert (*unknown, reading.other_processes) == (None,) * 4


def test_an_amd_gpu_that_is_gone_is_lost(sys_folder: MadeUpSys) -> None:
    sys_folder.add_mi210s(1)
    (reading,) = AmdMeter([(0, "GPU-gone")]).read(())
    assert reading == GpuReading(0, "GPU-gone", lost=True)
