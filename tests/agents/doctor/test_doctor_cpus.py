"""Clocks, heat and the CPUs that a process may use, on machines that are made up of files."""

import math
from collections.abc import Callable, Mapping

import pytest

from velodrome.agents.doctor import cpu_speed, cpus
from velodrome.agents.doctor.finding import DoctorFinding, FindingLevel
from velodrome.agents.doctor.proc_sys_files import Kernel

Machine = Callable[[Mapping[str, str]], Kernel]
CPU = "sys/devices/system/cpu"
ALL = frozenset(range(4))


@pytest.mark.parametrize(
    "check",
    [
        cpu_speed.check_governor,
        cpu_speed.check_frequency_limit,
        cpu_speed.check_boost,
        cpu_speed.check_temperature,
        lambda kernel: cpu_speed.check_throttling({}, cpu_speed.throttle_counts(kernel)),
        lambda kernel: cpus.check_siblings(kernel, ALL),
        lambda kernel: cpus.check_affinity(kernel, ALL),
        cpus.check_virtualization,
        cpus.check_clock_source,
    ],
)
def test_a_cpu_check_is_unknown_where_the_kernel_reports_nothing(
    machine: Machine, check: Callable[[Kernel], DoctorFinding]
) -> None:
    found = check(machine({}))
    assert found.verdict is FindingLevel.UNKNOWN
    assert found.seen
    assert found.why
    assert not found.mend


def test_one_core_with_another_governor_warns(machine: Machine) -> None:
    files = {
        f"{CPU}/{{cpu}}/cpufreq/scaling_governor": "performance\n",
        f"{CPU}/{{cpu}}/cpufreq/scaling_driver": "acpi-cpufreq\n",
    }
    assert cpu_speed.check_governor(machine(files)).seen == "performance, driver acpi-cpufreq"
    assert cpu_speed.check_governor(machine(files)).verdict is FindingLevel.FINE
    found = cpu_speed.check_governor(machine({f"{CPU}/cpu3/cpufreq/scaling_governor": "powersave"}))
    assert found.verdict is FindingLevel.WARNING
    assert found.seen == "3 x performance, 1 x powersave, driver acpi-cpufreq"
    assert found.mend == f"echo performance | sudo tee /{CPU}/cpu*/cpufreq/scaling_governor"


def test_a_limited_clock_is_reported_with_its_maximum(machine: Machine) -> None:
    files = {
        f"{CPU}/{{cpu}}/cpufreq/cpuinfo_max_freq": "3600000",
        f"{CPU}/{{cpu}}/cpufreq/scaling_max_freq": "3600000",
    }
    assert cpu_speed.check_frequency_limit(machine(files)).seen == "up to 3.60 GHz"
    found = cpu_speed.check_frequency_limit(
        machine({f"{CPU}/cpu2/cpufreq/scaling_max_freq": "2000000"})
    )
    assert found.seen == "1 of 4 CPUs: 2.00 of 3.60 GHz"
    assert found.mend == "sudo cpupower frequency-set --max 3600000kHz"


@pytest.mark.parametrize(
    ("file", "on", "off"),
    [
        (f"{CPU}/intel_pstate/no_turbo", "0", "1"),
        (f"{CPU}/cpufreq/boost", "1", "0"),
        (f"{CPU}/{{cpu}}/cpufreq/boost", "1", "0"),
    ],
)
def test_active_boost_warns_and_names_its_own_switch(
    machine: Machine, file: str, on: str, off: str
) -> None:
    found = cpu_speed.check_boost(machine({file: on}))
    assert found.verdict is FindingLevel.WARNING
    assert found.mend == f"echo {off} | sudo tee /{file.replace('{cpu}', 'cpu*')}"
    assert cpu_speed.check_boost(machine({file: off})).verdict is FindingLevel.FINE


def test_a_cpu_is_hot_by_its_own_limit_and_disks_are_ignored(machine: Machine) -> None:
    files = {
        "sys/class/hwmon/hwmon0/name": "nvme",
        "sys/class/hwmon/hwmon0/temp1_input": "84000",
        "sys/class/hwmon/hwmon0/temp1_max": "85000",
        "sys/class/hwmon/hwmon1/name": "coretemp",
        "sys/class/hwmon/hwmon1/temp1_input": "61000",
        "sys/class/hwmon/hwmon1/temp1_max": "80000",
    }
    found = cpu_speed.check_temperature(machine(files))
    assert (found.verdict, found.seen) == (FindingLevel.FINE, "61 °C, limit 80 °C")
    hot = cpu_speed.check_temperature(machine({"sys/class/hwmon/hwmon1/temp1_input": "71000"}))
    assert hot.verdict is FindingLevel.WARNING


def test_a_sensor_without_a_limit_is_unknown(machine: Machine) -> None:
    files = {
        "sys/class/hwmon/hwmon0/name": "k10temp",
        "sys/class/hwmon/hwmon0/temp1_input": "48500",
    }
    assert cpu_speed.check_temperature(machine(files)).verdict is FindingLevel.UNKNOWN


def test_present_throttling_past_throttling_and_none_are_distinguished(machine: Machine) -> None:
    file = f"{CPU}/{{cpu}}/thermal_throttle/core_throttle_count"
    never = cpu_speed.throttle_counts(machine({file: "0"}))
    assert cpu_speed.check_throttling(never, never).verdict is FindingLevel.FINE
    once = cpu_speed.throttle_counts(machine({file.replace("{cpu}", "cpu1"): "7"}))
    assert "7 times per core since boot" in cpu_speed.check_throttling(once, once).seen
    assert cpu_speed.check_throttling(never, once).seen == "right now: cpu1"


def test_an_smt_sibling_that_others_may_use_is_named(machine: Machine) -> None:
    siblings = f"{CPU}/{{cpu}}/topology/thread_siblings_list"
    kernel = machine({siblings: "0,2"})
    kernel = machine({siblings.replace("{cpu}", f"cpu{cpu}"): "1,3" for cpu in (1, 3)})
    assert cpus.check_siblings(kernel, ALL).seen == "2 threads per core, all of them ours"
    found = cpus.check_siblings(kernel, {0, 1, 2})
    assert found.verdict is FindingLevel.WARNING
    assert found.seen == "CPUs that others may use beside ours: 3"


def test_an_affinity_or_a_quota_below_the_machines_cpus_warns(machine: Machine) -> None:
    kernel = machine({f"{CPU}/online": "0-3\n"})
    assert cpus.check_affinity(kernel, ALL).seen == "all 4 CPUs"
    found = cpus.check_affinity(kernel, {0, 1})
    assert (found.verdict, found.seen) == (FindingLevel.WARNING, "2 of 4 CPUs")
    assert "taskset -c 0-3" in found.mend
    assert cpus.check_quota(math.inf, 4).seen == "none"
    assert cpus.check_quota(4.0, 4).verdict is FindingLevel.FINE
    assert cpus.check_quota(1.5, 4).seen == "1.5 of 4 CPUs' time"
    assert cpus.check_quota(1.5, 4).verdict is FindingLevel.WARNING


def test_a_virtual_machine_is_unknown_and_a_container_on_bare_metal_passes(
    machine: Machine,
) -> None:
    kernel = machine({"proc/cpuinfo": "model name\t: A\nflags\t\t: fpu sse\n\nprocessor: 1"})
    assert cpus.check_virtualization(kernel).seen == "none detected"
    assert cpus.check_virtualization(machine({".dockerenv": ""})).verdict is FindingLevel.FINE
    guest = {
        "proc/cpuinfo": "flags\t\t: fpu hypervisor\n",
        "sys/class/dmi/id/sys_vendor": "Amazon EC2\n",
    }
    found = cpus.check_virtualization(machine(guest))
    assert found.verdict is FindingLevel.UNKNOWN
    assert found.seen == "a virtual machine (Amazon EC2), inside a container"


def test_a_slow_clock_source_suggests_a_fast_one_only_if_available(machine: Machine) -> None:
    clocks = "sys/devices/system/clocksource/clocksource0"
    assert cpus.check_clock_source(machine({f"{clocks}/current_clocksource": "tsc"})).seen == "tsc"
    kernel = machine({f"{clocks}/current_clocksource": "hpet"})
    assert "dmesg" in cpus.check_clock_source(kernel).mend
    kernel = machine({f"{clocks}/available_clocksource": "tsc hpet acpi_pm"})
    assert (
        cpus.check_clock_source(kernel).mend == f"echo tsc | sudo tee /{clocks}/current_clocksource"
    )
