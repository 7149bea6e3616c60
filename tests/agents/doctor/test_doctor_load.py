"""Load of others between two instants of a made-up machine; and real holders of locks."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from velodrome.agents.cores.lock_files import try_lock
from velodrome.agents.doctor import co_tenants, load
from velodrome.agents.doctor.finding import FindingLevel
from velodrome.agents.doctor.proc_sys_files import Kernel

Machine = Callable[[Mapping[str, str]], Kernel]
SECOND = 10**9


def stat(*cpus: str) -> dict[str, str]:
    """Ticks `user nice system idle iowait irq softirq steal` of each CPU."""
    rows = [f"cpu{number} {ticks} 0 0" for number, ticks in enumerate(cpus)]
    return {"proc/stat": "\n".join(["cpu  1 2 3 4 5 6 7 8 0 0", *rows, "intr 5"])}


def process(pid: int, name: str, ticks: int) -> dict[str, str]:
    return {f"proc/{pid}/stat": f"{pid} ({name}) R 1 1 1 0 -1 4 0 0 0 0 {ticks} 0 0 0 20 0"}


def test_a_busy_core_is_named_with_its_process(machine: Machine) -> None:
    idle = "0 0 0 0 0 0 0 0"
    before = load.snapshot(machine(stat(idle, idle) | process(7, "a (b) c", 10)), 0)
    ticks = stat("2 0 0 98 0 0 0 0", "70 5 5 20 0 0 0 0")
    processes = process(7, "a (b) c", 90) | process(8, "born since", 5)
    after = load.snapshot(machine(ticks | processes), SECOND)
    found = load.check_other_load(before, after, own_pid=1)
    assert found.verdict is FindingLevel.WARNING
    assert found.seen == "82 % of one core: cpu1 80 %; a (b) c (pid 7) 80 %, born since (pid 8) 5 %"
    assert "a (b) c" not in load.check_other_load(before, after, own_pid=7).seen


def test_waiting_for_disks_and_little_work_do_not_count_as_load(machine: Machine) -> None:
    before = load.snapshot(machine(stat("0 0 0 0 0 0 0 0")), 0)
    after = load.snapshot(machine(stat("10 0 5 20 65 0 0 0")), SECOND)
    found = load.check_other_load(before, after, own_pid=1)
    assert (found.verdict, found.seen) == (FindingLevel.FINE, "15 % of one core")


def test_stolen_time_warns_and_no_stolen_time_is_unknown_in_an_undetected_guest(
    machine: Machine,
) -> None:
    before = load.snapshot(machine(stat("0 0 0 0 0 0 0 0")), 0)
    robbed = load.snapshot(machine(stat("50 0 0 45 0 0 0 5")), SECOND)
    later = load.snapshot(machine(stat("50 0 0 145 0 0 0 5")), 2 * SECOND)
    calm = load.snapshot(machine(stat("50 0 0 50 0 0 0 0")), SECOND)
    found = load.check_stolen_time(before, robbed, is_guest=None)
    assert (found.verdict, found.seen) == (
        FindingLevel.WARNING,
        "5.0 % of all CPUs' time in this second",
    )
    assert load.check_stolen_time(robbed, later, is_guest=None).verdict is FindingLevel.FINE
    assert load.check_stolen_time(before, calm, is_guest=None).verdict is FindingLevel.UNKNOWN
    assert load.check_stolen_time(before, calm, is_guest=False).verdict is FindingLevel.FINE


def test_pressure_is_the_stalled_share_of_the_second(machine: Machine) -> None:
    def kernel_with_stalls(cpu_us: int, memory_us: int) -> Kernel:
        line = "some avg10=0.00 avg60=0.00 avg300=0.00 total={}\nfull avg10=0.00 total=9"
        return machine(
            {
                "proc/pressure/cpu": line.format(cpu_us),
                "proc/pressure/memory": line.format(memory_us),
            }
        )

    before = load.snapshot(kernel_with_stalls(1000, 1000), 0)
    quiet = load.snapshot(kernel_with_stalls(51_000, 1000), SECOND)
    assert load.check_pressure(before, quiet).seen == "cpu 5 %, memory 0 %"
    assert load.check_pressure(before, quiet).verdict is FindingLevel.FINE
    pressed = load.snapshot(kernel_with_stalls(51_000, 31_000), SECOND)
    found = load.check_pressure(before, pressed)
    assert (found.verdict, found.seen) == (FindingLevel.WARNING, "cpu 5 %, memory 3 %")
    assert "memory" in found.mend


def test_load_is_unknown_where_the_kernel_reports_nothing(machine: Machine) -> None:
    none = load.snapshot(machine({}))
    assert load.check_other_load(none, none, own_pid=1).verdict is FindingLevel.UNKNOWN
    assert load.check_stolen_time(none, none, is_guest=False).verdict is FindingLevel.UNKNOWN
    assert load.check_pressure(none, none).verdict is FindingLevel.UNKNOWN
    assert co_tenants.check_core_locks(machine({}), []).verdict is FindingLevel.UNKNOWN
    assert co_tenants.check_ray(machine({})).verdict is FindingLevel.UNKNOWN


def test_the_holder_of_a_core_is_named_and_a_released_lock_is_not(tmp_path: Path) -> None:
    environ = {"VELODROME_LOCKS": str(tmp_path)}
    descriptor = try_lock(tmp_path / "core-0.lock")
    assert descriptor is not None
    other = try_lock(tmp_path / "core-1.lock")
    assert other is not None
    os.close(other)
    found = co_tenants.check_core_locks(Kernel(), co_tenants.lock_paths(environ))
    assert found.verdict is FindingLevel.WARNING
    assert found.seen.startswith(f"core-0: pid {os.getpid()} (")
    os.close(descriptor)
    assert (
        co_tenants.check_core_locks(Kernel(), co_tenants.lock_paths(environ)).verdict
        is FindingLevel.FINE
    )


def test_reading_locks_creates_no_folder(tmp_path: Path) -> None:
    folder = tmp_path / "locks"
    assert co_tenants.lock_paths({"VELODROME_LOCKS": str(folder)}) == ()
    assert not folder.exists()


def test_an_idle_ray_passes_and_a_busy_ray_warns(machine: Machine) -> None:
    kernel = machine({"proc/4/cmdline": "/bin/sh\0-c\0true\0"})
    assert co_tenants.check_ray(kernel).seen == "Ray does not run here"
    kernel = machine(
        {
            "proc/5/cmdline": "/opt/ray/raylet\0--port=1\0",
            "proc/6/cmdline": "ray::IDLE\0\0\0",
            "proc/8/cmdline": "\0 of no name\0",
            "proc/7/cmdline": "ray::RuntimeEnvAgent\0\0\0",
        }
    )
    found = co_tenants.check_ray(kernel)
    assert (found.verdict, found.seen) == (FindingLevel.FINE, "Ray is idle (pid 5)")
    found = co_tenants.check_ray(machine({"proc/9/cmdline": "ray::train() other\0"}))
    assert (found.verdict, found.seen) == (FindingLevel.WARNING, "ray::train() (pid 9)")
