"""Throttle and stall counters, from files in the kernel's format."""

from pathlib import Path

import pytest

from velodrome.agents.sampling.stall_counters import (
    StallCounts,
    StallReader,
    parse_throttled_us,
    quota_paths,
)

VERSION_1 = b"nr_periods 9\nnr_throttled 3\nthrottled_time 2500000\n"
VERSION_2 = b"usage_usec 99\nuser_usec 9\nnr_throttled 3\nthrottled_usec 2500\nnr_bursts 0\n"


def write(root: Path, texts: dict[str, str]) -> None:
    for name, text in texts.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def make_reader(root: Path) -> StallReader:
    return StallReader(f"{root}/proc", f"{root}/sys")


@pytest.mark.parametrize(("text", "us"), [(VERSION_1, 2500), (VERSION_2, 2500), (b"", None)])
def test_throttling_by_a_quota_is_read_in_microseconds_from_either_cgroup_version(
    text: bytes, us: int | None
) -> None:
    assert parse_throttled_us(text) == us


def test_a_cgroup_and_all_its_parents_are_searched_for_quotas(tmp_path: Path) -> None:
    groups = "0::/user/job\n4:memory:/a\n2:cpu,cpuacct:/a/b\n"
    write(tmp_path, {"proc/self/cgroup": groups})
    assert quota_paths(f"{tmp_path}/proc", "/g") == [
        "/g/user/job/cpu.stat",
        "/g/user/cpu.stat",
        "/g/cpu.stat",
        "/g/cpu/a/b/cpu.stat",
        "/g/cpu/a/cpu.stat",
        "/g/cpu/cpu.stat",
    ]
    write(tmp_path, {"sys/fs/cgroup/user/cpu.stat": VERSION_2.decode()})
    write(tmp_path, {"sys/fs/cgroup/cpu/a/b/cpu.stat": VERSION_1.decode()})
    assert make_reader(tmp_path).read({0}).quota_us == 5000


def test_all_stall_counters_are_unknown_where_the_kernel_reports_nothing(tmp_path: Path) -> None:
    assert make_reader(tmp_path).read({0}) == StallCounts()


def test_throttle_counts_are_those_of_the_tasks_cores_and_their_socket(tmp_path: Path) -> None:
    path = "sys/devices/system/cpu/cpu{}/thermal_throttle/{}_throttle_count"
    counts = {(0, "core"): 1, (0, "package"): 10, (1, "core"): 100, (1, "package"): 10}
    write(tmp_path, {path.format(*place): f"{count}\n" for place, count in counts.items()})
    assert make_reader(tmp_path).read({1}).thermal_throttles == 110


def test_pages_read_from_swap_are_counted_where_swap_exists(tmp_path: Path) -> None:
    write(tmp_path, {"proc/vmstat": "nr_free_pages 5\npswpin 42\npswpout 7\n"})
    head = "Filename Type Size Used Priority\n"
    write(tmp_path, {"proc/swaps": head})
    assert make_reader(tmp_path).read({0}).swapped_in_pages is None
    write(tmp_path, {"proc/swaps": f"{head}/dev/sda2 partition 9 0 -2\n"})
    assert make_reader(tmp_path).read({0}).swapped_in_pages == 42
