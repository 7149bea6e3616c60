"""Memory and rights, on machines that are made up of files."""

from collections.abc import Callable, Mapping

import pytest

from velodrome.agents.doctor import memory, permissions
from velodrome.agents.doctor.finding import DoctorFinding, FindingLevel
from velodrome.agents.doctor.proc_sys_files import Kernel

Machine = Callable[[Mapping[str, str]], Kernel]
GIB = 2**30


def meminfo(available_gib: int = 8, swap_mib: int = 0, swap_free_mib: int = 0) -> dict[str, str]:
    lines = [
        f"MemTotal:       {16 * 2**20} kB",
        f"MemAvailable:   {available_gib * 2**20} kB",
        f"SwapTotal:      {swap_mib * 1024} kB",
        f"SwapFree:       {swap_free_mib * 1024} kB",
    ]
    return {"proc/meminfo": "\n".join(lines)}


@pytest.mark.parametrize(
    "check",
    [
        lambda kernel: memory.check_free_memory(kernel, GIB, GIB),
        memory.check_swap,
        memory.check_swappiness,
        memory.check_huge_pages,
        memory.check_numa_nodes,
        memory.check_numa_balancing,
        permissions.check_energy,
        lambda kernel: permissions.check_perf(kernel, 1000),
        permissions.check_address_randomisation,
    ],
)
def test_a_memory_check_is_unknown_where_the_kernel_reports_nothing(
    machine: Machine, check: Callable[[Kernel], DoctorFinding]
) -> None:
    assert check(machine({})).verdict is FindingLevel.UNKNOWN


def test_the_memory_check_uses_available_memory_and_the_cgroup_limit(machine: Machine) -> None:
    kernel = machine(meminfo(available_gib=8))
    assert memory.check_free_memory(kernel, 16 * GIB, 4 * GIB).verdict is FindingLevel.FINE
    assert memory.check_free_memory(kernel, 2 * GIB, 4 * GIB).verdict is FindingLevel.WARNING
    found = memory.check_free_memory(machine(meminfo(available_gib=3)), 16 * GIB, 4 * GIB)
    assert (found.verdict, found.seen) == (
        FindingLevel.WARNING,
        "3.0 of 16.0 GiB that this process may use",
    )


def test_used_swap_warns_and_swappiness_warns_only_where_swap_exists(
    machine: Machine,
) -> None:
    kernel = machine({"proc/sys/vm/swappiness": "60", **meminfo()})
    assert memory.check_swap(kernel).seen == "no swap"
    assert memory.check_swappiness(kernel).verdict is FindingLevel.FINE
    kernel = machine(meminfo(swap_mib=2048, swap_free_mib=2048))
    assert memory.check_swap(kernel).verdict is FindingLevel.FINE
    assert memory.check_swappiness(kernel).mend == "sudo sysctl vm.swappiness=1"
    found = memory.check_swap(machine(meminfo(swap_mib=2048, swap_free_mib=2000)))
    assert (found.verdict, found.seen) == (FindingLevel.WARNING, "48 of 2048 MiB")


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("[always] madvise never", FindingLevel.WARNING),
        ("always [madvise] never", FindingLevel.FINE),
        ("always madvise [never]", FindingLevel.FINE),
    ],
)
def test_huge_pages_warn_only_when_the_kernel_makes_them_unasked(
    machine: Machine, text: str, verdict: FindingLevel
) -> None:
    kernel = machine({"sys/kernel/mm/transparent_hugepage/enabled": text})
    assert memory.check_huge_pages(kernel).verdict is verdict


def test_numa_balancing_warns_only_on_machines_with_several_numa_nodes(machine: Machine) -> None:
    node = "sys/devices/system/node/node{}/cpulist"
    kernel = machine({"proc/sys/kernel/numa_balancing": "1", node.format(0): "0-3"})
    assert memory.check_numa_balancing(kernel).verdict is FindingLevel.FINE
    kernel = machine({node.format(1): "4-7"})
    assert memory.check_numa_nodes(kernel).seen == "2"
    assert memory.check_numa_balancing(kernel).mend == "sudo sysctl kernel.numa_balancing=0"
    assert (
        memory.check_numa_balancing(machine({"proc/sys/kernel/numa_balancing": "0"})).seen == "off"
    )


def test_an_energy_counter_without_a_number_warns(machine: Machine) -> None:
    package = "sys/class/powercap/intel-rapl:0"
    kernel = machine({f"{package}/name": "package-0\n"})
    found = permissions.check_energy(kernel)
    assert found.verdict is FindingLevel.WARNING
    assert found.mend == "sudo chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj"
    assert permissions.check_energy(machine({f"{package}/energy_uj": "12345\n"})).seen == "readable"


def test_root_may_count_events_where_a_user_may_not(machine: Machine) -> None:
    kernel = machine({"proc/sys/kernel/perf_event_paranoid": "4"})
    assert permissions.check_perf(kernel, 1000).verdict is FindingLevel.WARNING
    assert permissions.check_perf(kernel, 0).verdict is FindingLevel.FINE
    kernel = machine({"proc/sys/kernel/perf_event_paranoid": "-1"})
    assert permissions.check_perf(kernel, 1000).verdict is FindingLevel.FINE


def test_a_low_open_files_limit_is_raised_in_the_shell_if_the_hard_limit_allows() -> None:
    assert permissions.check_open_files(-1, -1).verdict is FindingLevel.FINE
    assert permissions.check_open_files(4096, 4096).verdict is FindingLevel.FINE
    assert permissions.check_open_files(1024, -1).mend == "ulimit -n 65536"
    assert permissions.check_open_files(1024, 8192).mend == "ulimit -n 8192"
    assert "/etc/security/limits.conf" in permissions.check_open_files(1024, 1024).mend


def test_address_randomisation_never_warns(machine: Machine) -> None:
    for value in "012":
        kernel = machine({"proc/sys/kernel/randomize_va_space": value})
        assert permissions.check_address_randomisation(kernel).verdict is FindingLevel.FINE
