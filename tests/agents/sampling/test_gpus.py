"""The real nvidia-ml-py over a driver that is made up: tests/fake_nvml/fake_nvml.c."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

MIB = 2**20

TWO_GPUS = """\
0 total_mib 40960
0 capability 8.0
0 used_mib 1000
0 gpu_percent 80
0 memory_percent 30
0 power_mw 250500
0 limit_mw 400000
0 energy_mj 5000000
0 temperature_c 61
0 sm_mhz 1410
0 reasons 4
1 used_mib 10
1 gpu_percent 0
1 power_mw 60000
"""

INVENTORY = """
import json
from dataclasses import asdict
from velodrome.agents.inventory import take_inventory
print(json.dumps([asdict(gpu) for gpu in take_inventory().gpus]))
"""

# Prints the GPUs of the last complete reading.
SAMPLING = """
import json, os, subprocess, sys
from dataclasses import asdict
from velodrome.agents.inventory import take_inventory
from velodrome.agents.sampling.sampler import Sampler
gpus = take_inventory().gpus
chosen = tuple(gpus[int(index)] for index in sys.argv[1])
with subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE) as worker:
    with open(os.environ["FAKE_NVML_STATE"], "a") as file:
        print("0 process", f"{worker.pid}:700", file=file)
        print("0 process", f"{os.getpid()}:50", file=file)
    with Sampler(worker.pid, gpus=chosen) as sampler:
        pass
    worker.kill()
print(json.dumps([asdict(gpu) for gpu in sampler.readings[-1].gpus]))
"""

METERING = """
import json, os, time
from velodrome.agents.sampling.gpu_meter import GpuMeter
from velodrome.agents.inventory import take_inventory
path = os.environ["FAKE_NVML_STATE"]
meter = GpuMeter([(gpu.index, gpu.uuid) for gpu in take_inventory().gpus[:1]])
energy, memory = [], []
def read():
    (gpu,) = meter.read(())
    energy.extend(() if gpu.energy_mj is None else [gpu.energy_mj])
    memory.extend(() if gpu.memory_bytes is None else [gpu.memory_bytes])
read()
with open(path) as file:
    text = file.read()
with open(path + ".new", "w") as file:
    file.write("0 energy_mj 5100000\\n0 used_mib 3000\\n" + text)
os.replace(path + ".new", path)
deadline = time.monotonic() + 10
while min(len(set(energy)), len(set(memory))) < 2 and time.monotonic() < deadline:
    read()
print(json.dumps([sorted(set(energy)), sorted(set(memory))]))
"""


@pytest.fixture
def driver(fake_driver: Path, tmp_path: Path) -> dict[str, str]:
    """The environment of a process that sees two GPUs."""
    state = tmp_path / "state"
    state.write_text(TWO_GPUS)
    return {
        "LD_LIBRARY_PATH": str(fake_driver),
        "FAKE_NVML": "NVIDIA A100-SXM4-40GB:1,NVIDIA L40S:1",
        "FAKE_NVML_STATE": str(state),
    }


def answer(environment: dict[str, str], code: str, *arguments: str) -> Any:
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, env=os.environ | environment, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def uuid(index: int) -> str:
    return f"GPU-fa4e0000-0000-0000-0000-00000000000{index}"


def test_gpus_are_listed_by_name_and_uuid(driver: dict[str, str]) -> None:
    assert answer(driver, INVENTORY) == [
        {
            "index": 0,
            "name": "NVIDIA A100-SXM4-40GB",
            "uuid": uuid(0),
            "memory_bytes": 40960 * MIB,
            "driver": "999.1-fake",
            "power_limit_w": 400.0,
            "compute_capability": "8.0",
            "numa_node": None,
        },
        {
            "index": 1,
            "name": "NVIDIA L40S",
            "uuid": uuid(1),
            "memory_bytes": 81920 * MIB,
            "driver": "999.1-fake",
            "power_limit_w": None,
            "compute_capability": "",
            "numa_node": None,
        },
    ]


def test_a_library_without_a_driver_is_no_gpu(driver: dict[str, str]) -> None:
    assert answer({**driver, "FAKE_NVML": ""}, INVENTORY) == []


def test_gpus_are_sampled_and_unreported_figures_are_unknown(driver: dict[str, str]) -> None:
    first, second = answer(driver, SAMPLING, "01")
    assert (
        first
        == {
            "index": 0,
            "uuid": uuid(0),
            "percent": 80.0,
            "memory_percent": 30.0,
            "memory_bytes": 1000 * MIB,
            "process_memory_bytes": 700 * MIB,  # of the worker alone
            "power_w": 250.5,
            "energy_mj": 5000000,
            "temperature_c": 61.0,
            "sm_mhz": 1410,
            "throttle_reasons": 4,
            "other_processes": [[*first["other_processes"][0][:2], 50 * MIB]]
            if first["other_processes"]
            else None,
            "lost": False,
        }
    )
    unknown = ("energy_mj", "temperature_c", "sm_mhz", "throttle_reasons")
    assert [second[name] for name in unknown] == [None] * 4
    assert second["percent"] == 0.0
    assert second["power_w"] == 60.0


def test_only_the_gpus_of_the_task_are_sampled(driver: dict[str, str]) -> None:
    (gpu,) = answer(driver, SAMPLING, "1")
    assert (gpu["index"], gpu["uuid"]) == (1, uuid(1))


def test_changes_on_a_gpu_are_sampled(driver: dict[str, str]) -> None:
    energy, memory = answer(driver, METERING)
    assert energy == [5000000, 5100000]
    assert memory == [1000 * MIB, 3000 * MIB]
