"""CPU times of a task's cores and of all others, from /proc/stat."""

from pathlib import Path

from velodrome.agents.sampling.cpu_times import (
    MACHINE,
    CpuTimes,
    CpuTimesReader,
    parse_cpu_fields,
    to_cpu_times,
)

#       user nice system idle iowait irq softirq steal guest guest_nice
STAT = """\
cpu  {0} 0 0 100 0 0 0 0 0 0
cpu0 {1} 0 0 100 0 0 0 0 0 0
cpu1 {2} 0 0 100 0 0 0 0 0 0
cpu10 {3} 0 0 100 0 0 0 0 0 0
intr 5 1 2
"""


def write(root: Path, texts: dict[str, str]) -> None:
    for name, text in texts.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def test_stolen_time_is_busy_for_the_machine_and_separate_for_the_cores() -> None:
    text = b"cpu  200 10 50 800 20 3 2 15 90 5\ncpu0 1 2 4 8 16 32 64 128 0 0\n"
    # By hand: 280 of 1100 ticks; on cpu0 103 of 255 were work, of which 96 interrupts.
    assert to_cpu_times(parse_cpu_fields(text, {0})) == CpuTimes(
        busy=280,
        all=1100,
        core_busy=103,
        core_interrupts=96,
        core_stolen=128,
        core_all=255,
        other_cores_busy=265 - 103,
    )


def test_cpu_1_is_not_mistaken_for_cpu_10() -> None:
    text = STAT.format(60, 10, 20, 30).encode()
    assert parse_cpu_fields(text, {1})[1][0] == 20
    assert set(parse_cpu_fields(text, {1, 7})) == {MACHINE, 1}


def test_the_smt_siblings_of_a_tasks_cpu_count_as_its_cores(tmp_path: Path) -> None:
    siblings = "sys/devices/system/cpu/cpu1/topology/thread_siblings_list"
    write(tmp_path, {"proc/stat": STAT.format(0, 0, 0, 0), siblings: "1,10\n"})
    reader = CpuTimesReader(f"{tmp_path}/proc", f"{tmp_path}/sys")
    assert reader.read({1}) == CpuTimes()
    write(tmp_path, {"proc/stat": STAT.format(60, 10, 20, 30)})
    grown = reader.read({1})
    assert grown is not None
    assert (grown.core_busy, grown.other_cores_busy, reader.cores) == (50, 10, {1, 10})


def test_work_of_cores_before_they_belonged_to_the_task_is_not_counted(tmp_path: Path) -> None:
    write(tmp_path, {"proc/stat": STAT.format(0, 0, 0, 0)})
    reader = CpuTimesReader(f"{tmp_path}/proc", f"{tmp_path}/sys")
    reader.read({0})
    write(tmp_path, {"proc/stat": STAT.format(60, 10, 20, 30)})
    assert reader.read({1}) == CpuTimes()
    write(tmp_path, {"proc/stat": STAT.format(67, 10, 27, 30)})
    grown = reader.read({1})
    assert grown is not None
    assert (grown.core_busy, grown.other_cores_busy) == (7, 0)
