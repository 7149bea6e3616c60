from pathlib import Path

import pytest

from velodrome.agents.sampling.machine_counters import (
    MachineCounters,
    MachineReader,
    energy_growth,
    parse_clocks,
)


def write(root: Path, texts: dict[str, str]) -> None:
    for name, text in texts.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def test_a_machine_that_reports_nothing_is_unknown_and_not_idle(tmp_path: Path) -> None:
    assert MachineReader(f"{tmp_path}/proc", f"{tmp_path}/sys").read({0}) == MachineCounters()


def test_the_clock_is_the_mean_over_the_cores_of_the_task(tmp_path: Path) -> None:
    clocks = {0: 1_000_000, 1: 3_000_000, 2: 4_000_000}
    path = "sys/devices/system/cpu/cpu{}/cpufreq/scaling_cur_freq"
    write(tmp_path, {path.format(cpu): f"{khz}\n" for cpu, khz in clocks.items()})
    machine = MachineReader(f"{tmp_path}/proc", f"{tmp_path}/sys")
    assert machine.read({1, 2}).mhz == 3500


@pytest.mark.parametrize(("flags", "mhz"), [("fpu aperfmperf", 2000.5), ("fpu hypervisor", None)])
def test_the_clock_of_cpuinfo_counts_only_where_it_is_measured(
    tmp_path: Path, flags: str, mhz: float | None
) -> None:
    cpu = "processor\t: {}\ncpu MHz\t\t: {}\nflags\t\t: {}\n\n"
    write(tmp_path, {"proc/cpuinfo": cpu.format(0, 900, flags) + cpu.format(1, 2000.5, flags)})
    assert MachineReader(f"{tmp_path}/proc", f"{tmp_path}/sys").read({1}).mhz == mhz


def test_cpuinfo_of_many_cores_is_read_to_its_end() -> None:
    text = b"".join(b"processor\t: %d\nflags\t: a b\ncpu MHz\t: %d\n\n" % (n, n) for n in range(99))
    assert parse_clocks(text, {98, 3}) == [3.0, 98.0]


def test_the_energy_counter_continues_after_wrapping() -> None:
    # By hand: 10 up to the end of its range at 1000, and 25 more.
    assert energy_growth(990, 25, 1000) == 35
    assert energy_growth(25, 30, 1000) == 5


def test_energy_is_read_per_socket_and_not_per_subdomain(tmp_path: Path) -> None:
    domains = {"intel-rapl:0": "package-0", "intel-rapl:1": "package-1", "intel-rapl:2": "psys"}
    folder = "sys/class/powercap"
    for domain, name in {**domains, "intel-rapl:0:0": "core"}.items():
        write(
            tmp_path,
            {
                f"{folder}/{domain}/name": f"{name}\n",
                f"{folder}/{domain}/energy_uj": "990\n",
                f"{folder}/{domain}/max_energy_range_uj": "1000\n",
            },
        )
    machine = MachineReader(f"{tmp_path}/proc", f"{tmp_path}/sys")
    assert machine.read({0}).package_energy_uj == 0
    write(tmp_path, {f"{folder}/intel-rapl:0/energy_uj": "25\n"})
    write(tmp_path, {f"{folder}/intel-rapl:1/energy_uj": "1000\n"})
    energy = None
    while energy is None:  # read as often as its cost allows
        energy = machine.read({0}).package_energy_uj
    assert energy == 35 + 10
