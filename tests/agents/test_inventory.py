import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from velodrome.agents.cgroups import cpu_quota, memory_bytes
from velodrome.agents.cpu_topology import caches, cores
from velodrome.agents.cpusets import cpu_numbers
from velodrome.agents.inventory import cpu_model, limit_to_quota, take_inventory, virtualization
from velodrome.agents.node import Core
from velodrome.agents.sampling import driver

GIB = 2**30


def write(root: Path, texts: dict[str, str]) -> Path:
    for name, text in texts.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")
    return root


def two_sockets(root: Path) -> Path:
    """Two sockets of two cores of two threads; the second threads come last, as with Intel."""
    for cpu in range(8):
        core, socket_number = cpu % 4, cpu % 4 // 2
        folder = f"cpu{cpu}/topology"
        write(
            root,
            {
                f"{folder}/core_cpus_list": f"{core},{core + 4}",
                f"{folder}/physical_package_id": str(socket_number),
                f"cpu{cpu}/node{socket_number}/cpulist": "",
            },
        )
    return root


def test_smt_threads_of_one_core_count_as_one_core(tmp_path: Path) -> None:
    assert cores(range(8), two_sockets(tmp_path)) == (
        Core(0, (0, 4), socket=0, numa_node=0),
        Core(1, (1, 5), socket=0, numa_node=0),
        Core(2, (2, 6), socket=1, numa_node=1),
        Core(3, (3, 7), socket=1, numa_node=1),
    )


def test_only_usable_cpus_are_counted(tmp_path: Path) -> None:
    found = cores({3, 6, 7}, two_sockets(tmp_path))
    assert [core.cpus for core in found] == [(3, 7), (6,)]


@pytest.mark.parametrize("siblings", ["", "nonsense", "4-7"])
def test_every_cpu_is_a_core_if_sys_contradicts_itself(tmp_path: Path, siblings: str) -> None:
    write(tmp_path, {"cpu1/topology/core_cpus_list": siblings})
    assert cores({0, 1}, tmp_path) == (Core(0, (0,)), Core(1, (1,)))


def test_cpu_lists_are_read_in_the_kernels_format() -> None:
    assert cpu_numbers("0-2,8,10-11") == {0, 1, 2, 8, 10, 11}


def test_caches_are_named_by_level_and_kind(tmp_path: Path) -> None:
    sizes = [("1", "Data", "48K"), ("1", "Instruction", "32K"), ("2", "Unified", "2048K")]
    for index, (level, kind, size) in enumerate(sizes):
        folder = f"cpu0/cache/index{index}"
        write(tmp_path, {f"{folder}/level": level, f"{folder}/type": kind, f"{folder}/size": size})
    assert caches(0, tmp_path) == "L1d 48 KiB, L1i 32 KiB, L2 2 MiB"


@pytest.mark.parametrize(
    ("membership", "limits", "expected"),
    [
        ("0::/", {}, 16 * GIB),
        ("0::/pod/box", {"pod/box/memory.max": "max", "pod/memory.max": str(4 * GIB)}, 4 * GIB),
        ("0::/of/the/host", {"memory.max": str(2 * GIB)}, 2 * GIB),
        ("4:memory:/box", {"memory/box/memory.limit_in_bytes": str(3 * GIB)}, 3 * GIB),
        ("4:memory:/", {"memory/memory.limit_in_bytes": "9223372036854771712"}, 16 * GIB),
    ],
)
def test_memory_is_limited_by_the_cgroups(
    tmp_path: Path, membership: str, limits: dict[str, str], expected: int
) -> None:
    meminfo = f"MemTotal:       {16 * GIB // 1024} kB\nMemFree: 1 kB"
    proc = write(tmp_path / "proc", {"meminfo": meminfo, "self/cgroup": membership})
    assert memory_bytes(proc, write(tmp_path / "groups", limits)) == expected


@pytest.mark.parametrize(
    ("membership", "limits", "expected"),
    [
        ("0::/", {}, float("inf")),
        ("0::/box", {"box/cpu.max": "250000 100000"}, 2.5),
        ("0::/box", {"box/cpu.max": "max 100000"}, float("inf")),
        (
            "2:cpu,cpuacct:/",
            {"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000"},
            0.5,
        ),
        (
            "2:cpu:/",
            {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"},
            float("inf"),
        ),
    ],
)
def test_a_containers_cpu_limit_is_read(
    tmp_path: Path, membership: str, limits: dict[str, str], expected: float
) -> None:
    proc = write(tmp_path / "proc", {"self/cgroup": membership})
    assert cpu_quota(proc, write(tmp_path / "groups", limits)) == expected


@pytest.mark.parametrize(
    ("quota", "cpus"),
    [
        (float("inf"), [(0, 4), (1, 5), (2, 6), (3, 7)]),
        (8.0, [(0, 4), (1, 5), (2, 6), (3, 7)]),
        (6.0, [(0,), (1,), (2,), (3,)]),
        (2.5, [(0,), (1,)]),
        (0.5, [(0,)]),
    ],
)
def test_cores_are_counted_only_up_to_the_cpu_limit(
    tmp_path: Path, quota: float, cpus: list[tuple[int, ...]]
) -> None:
    kept = limit_to_quota(cores(range(8), two_sockets(tmp_path)), quota)
    assert [core.cpus for core in kept] == cpus


def test_a_cpu_without_a_model_name_is_named_by_its_numbers() -> None:
    arm = {"CPU implementer": "0x41", "CPU part": "0xd40", "CPU variant": "0x1"}
    assert cpu_model(arm) == "ARM 0x41 0xd40 0x1"
    assert cpu_model({"model name": "Some  CPU   @ 2 GHz"}) == "Some CPU @ 2 GHz"


def test_bare_metal_is_not_a_virtual_machine() -> None:
    assert "hypervisor" not in virtualization({"flags": "fpu sse"})


def test_the_inventory_of_this_machine_agrees_with_the_system() -> None:
    node = take_inventory(labels={"pool": "lab", "arch": "x"})
    assert node.hostname == socket.gethostname()
    assert node.kernel == os.uname().release
    assert node.labels == (("arch", "x"), ("pool", "lab"))
    assert 0 < node.ram_bytes <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert {cpu for core in node.cores for cpu in core.cpus} <= os.sched_getaffinity(0)
    assert node.cpu_model and node.ray_version and node.velodrome_version
    assert node.node_id == take_inventory().node_id
    assert take_inventory("n1").node_id == "n1"


def test_a_process_that_may_use_one_cpu_has_one_core() -> None:
    code = """
import json, os, sys
os.sched_setaffinity(0, {int(sys.argv[1])})
from velodrome.agents.inventory import take_inventory
print(json.dumps([core.cpus for core in take_inventory().cores]))
"""
    cpu = max(os.sched_getaffinity(0))
    command = [sys.executable, "-c", code, str(cpu)]
    assert json.loads(subprocess.run(command, capture_output=True, check=True).stdout) == [[cpu]]


def test_the_inventory_takes_50_ms_at_most_or_half_a_second_with_a_gpu_driver() -> None:
    spent = []
    for _ in range(5):
        start_s = time.perf_counter()
        take_inventory()
        spent.append(time.perf_counter() - start_s)
    assert min(spent) < (0.5 if driver.is_installed(os.environ) else 0.05)
