"""Real workers, sampled from outside."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

from velodrome.adapters.protocol import Phase
from velodrome.agents.measurement import Reading
from velodrome.agents.sampling.cpu_times import CpuTimes
from velodrome.agents.sampling.machine_counters import MachineCounters
from velodrome.agents.sampling.readings import assign_phases, to_readings
from velodrome.agents.sampling.sampler import Sampler
from velodrome.agents.sampling.sampler_process import Instant
from velodrome.agents.sampling.tree_usage import TreeUsage

pytestmark = pytest.mark.serial

MB = 10**6
MS = 10**6

# Waits for a line, so that nothing happens before the sampler is there, then does BODY; at its
# end waits again, so that it is still there when the sampler is left.
WORKER = """
import json, os, subprocess, sys, threading, time
def burn(seconds):
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass
sys.stdin.readline()
{body}
print("done", flush=True)
sys.stdin.readline()
"""


class Worker:
    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.pid = process.pid

    def work(self) -> list[str]:
        """Lets it do its work; what it printed."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        lines = []
        for line in self._process.stdout:
            if line.strip() == "done":
                return lines
            lines.append(line)
        raise AssertionError(f"the worker ended early, after {lines}")


@contextmanager
def worker(body: str) -> Iterator[Worker]:
    command = [sys.executable, "-S", "-c", WORKER.format(body=body)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield Worker(process)
        finally:
            process.kill()


def cpu_seconds(readings: tuple[Reading, ...]) -> float:
    return sum((b.at_ns - a.at_ns) / 1e9 * b.cpu_percent / 100 for a, b in pairwise(readings))


def test_a_workers_cpu_use_agrees_with_its_own_count() -> None:
    body = "t = time.monotonic(); burn(0.6); print(0.6 / (time.monotonic() - t))"
    with worker(body) as process, Sampler(process.pid) as sampler:
        own_percent = 100 * float(process.work()[0])
    # On a busy machine the worker gets less than a core, so its own count is the measure.
    busy = [reading.cpu_percent for reading in sampler.readings[2:-1]]
    assert sum(busy) / len(busy) == pytest.approx(own_percent, rel=0.2)
    assert cpu_seconds(sampler.readings) == pytest.approx(0.6, abs=0.1)


def test_no_peak_longer_than_two_intervals_is_missed() -> None:
    body = "block = bytearray(200_000_000); time.sleep(0.25); del block; time.sleep(0.15)"
    with worker(body) as process, Sampler(process.pid) as sampler:
        process.work()
    assert max(reading.rss_bytes for reading in sampler.readings) > 200 * MB
    assert sampler.readings[-1].rss_bytes < 100 * MB
    assert sampler.peak_rss_bytes is not None and 200 * MB < sampler.peak_rss_bytes < 300 * MB


def test_the_peak_of_a_tree_is_that_of_its_sum() -> None:
    hold = "block = bytearray(100_000_000); import time; time.sleep(60)"
    body = f"""
child = subprocess.Popen([sys.executable, "-S", "-c", {hold!r}])
block = bytearray(100_000_000)
time.sleep(0.6)
child.kill()
child.wait()
"""
    with worker(body) as process, Sampler(process.pid) as sampler:
        process.work()
    assert sampler.peak_rss_bytes is not None and sampler.peak_rss_bytes > 200 * MB


def test_a_peak_between_two_readings_is_seen() -> None:
    body = "block = bytearray(200_000_000); del block"
    with worker(body) as process, Sampler(process.pid, hz=0.5) as sampler:
        process.work()
    assert sampler.peak_rss_bytes is not None and sampler.peak_rss_bytes > 200 * MB


def test_a_grandchilds_work_counts() -> None:
    grandchild = "import time\nwhile time.process_time() < 0.5: pass"
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-S', '-c', {grandchild!r}])"
    body = f"subprocess.run([sys.executable, '-S', '-c', {child!r}])"
    with worker(body) as process, Sampler(process.pid) as sampler:
        process.work()
    assert cpu_seconds(sampler.readings) == pytest.approx(0.55, abs=0.15)
    assert max(reading.threads for reading in sampler.readings) == 3


def test_work_of_children_that_live_between_two_readings_counts() -> None:
    child = "import time\nwhile time.process_time() < 0.05: pass"
    body = f"for _ in range(8): subprocess.run([sys.executable, '-S', '-c', {child!r}])"
    with worker(body) as process, Sampler(process.pid, hz=0.2) as sampler:
        process.work()
    assert cpu_seconds(sampler.readings) == pytest.approx(0.45, abs=0.15)


def test_threads_switches_and_transfers_agree_with_the_workers_own_counts(
    tmp_path: Path,
) -> None:
    body = f"""
gate = threading.Event()
threads = [threading.Thread(target=gate.wait) for _ in range(4)]
for thread in threads: thread.start()
for _ in range(100): time.sleep(0.002)
with open({str(tmp_path / "file")!r}, "wb") as file:
    file.write(bytes(8_000_000))
    os.fsync(file.fileno())
time.sleep(0.25)
print(open("/proc/self/io").read().split("\\nwrite_bytes: ")[1].split()[0])
gate.set()
for thread in threads: thread.join()
"""
    with worker(body) as process, Sampler(process.pid) as sampler:
        written = int(process.work()[0])
    first, last = sampler.readings[0], sampler.readings[-1]
    assert max(reading.threads for reading in sampler.readings) == 5
    assert last.written_bytes == written
    switches = [r.context_switches for r in sampler.readings if r.context_switches is not None]
    assert switches == sorted(switches)
    assert first.context_switches is not None and switches[-1] >= first.context_switches + 100


def test_node_utilization_is_in_percent() -> None:
    with worker("burn(0.4)") as process, Sampler(process.pid) as sampler:
        process.work()
    node = [r.node_cpu_percent for r in sampler.readings if r.node_cpu_percent is not None]
    pressure = [r.pressure_percent for r in sampler.readings if r.pressure_percent is not None]
    assert max(node) > 100 / (os.cpu_count() or 1) / 2
    assert all(0 <= percent <= 100 for percent in (*node, *pressure))


def test_readings_follow_the_rate_and_their_times_ascend() -> None:
    with worker("time.sleep(0.5)") as process, Sampler(process.pid, hz=50) as sampler:
        process.work()
    at_ns = [reading.at_ns for reading in sampler.readings]
    assert at_ns == sorted(set(at_ns))
    assert len(at_ns) <= (at_ns[-1] - at_ns[0]) * 50e-9 + 3
    assert len(at_ns) > 10


def test_a_worker_that_exits_at_once_still_has_readings() -> None:
    with subprocess.Popen([sys.executable, "-S", "-c", ""]) as process:
        with Sampler(process.pid) as sampler:
            process.wait()
        assert all(reading.gpus == () for reading in sampler.readings)
        with Sampler(process.pid) as late:
            pass
    assert late.readings == ()
    assert late.peak_rss_bytes is None


def test_a_worker_that_was_killed_is_read_until_its_end() -> None:
    with worker("burn(0.3)") as process, Sampler(process.pid) as sampler:
        process.work()
        os.kill(process.pid, 9)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert cpu_seconds(sampler.readings) == pytest.approx(0.3, abs=0.1)


def test_a_sampler_ends_when_the_tree_has_ended() -> None:
    with worker("") as process, Sampler(process.pid, hz=100) as sampler:
        process.work()
        (own,) = [p for p in psutil.Process().children() if p.pid != process.pid]
        os.kill(process.pid, 9)
        os.waitid(os.P_PID, own.pid, os.WEXITED | os.WNOWAIT)
    assert sampler.readings


def test_no_sampler_is_left_behind_when_the_agent_is_killed() -> None:
    agent = """
import os, sys, time
from velodrome.agents.sampling.sampler import Sampler
with Sampler(int(sys.argv[1])):
    print("sampling", flush=True)
    time.sleep(600)
"""
    with worker("") as process:
        command = [sys.executable, "-c", agent, str(process.pid)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as parent:
            assert parent.stdout is not None and parent.stdout.readline() == b"sampling\n"
            (sampler,) = psutil.Process(parent.pid).children()
            parent.kill()
        assert psutil.wait_procs([sampler], timeout=2)[1] == []


def test_a_sampler_runs_on_its_given_core() -> None:
    core = max(os.sched_getaffinity(0))
    with worker("time.sleep(0.3)") as process, Sampler(process.pid, core=core):
        process.work()
        (own,) = [p for p in psutil.Process().children() if p.pid != process.pid]
        assert own.cpu_affinity() == [core]


def test_a_sampler_that_cannot_start_says_why(caplog: pytest.LogCaptureFixture) -> None:
    with worker("time.sleep(0.2)") as process, Sampler(process.pid, core=10**5) as sampler:
        process.work()
    assert len(sampler.readings) == 1
    assert "Invalid argument" in caplog.text


def test_sampling_costs_little_and_reports_its_cost() -> None:
    with worker("time.sleep(1)") as process, Sampler(process.pid) as sampler:
        process.work()
    assert 0 < sampler.cost_cpu_seconds < 0.25


def test_a_rate_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="above 0"):
        Sampler(os.getpid(), hz=0)


def usage(cpu_ns: int, age_ns: int = 10 * MS) -> TreeUsage:
    return TreeUsage(cpu_ns, MB, MB, 1, age_ns, None, None, None)


def test_a_percentage_covers_the_time_since_the_counters_last_known_value() -> None:
    instants = [
        Instant(1000 * MS, usage(5 * MS), MachineCounters(CpuTimes(100, 1000), 0)),
        Instant(1100 * MS, usage(155 * MS), MachineCounters()),
        Instant(1200 * MS, usage(205 * MS), MachineCounters(CpuTimes(130, 1040), 50_000)),
    ]
    readings = to_readings(instants)
    # By hand: 5 of the first 10 ms; 150 and 50 of 100 ms; 30 of 40 ticks; 50 of 200 ms.
    assert [reading.cpu_percent for reading in readings] == [50.0, 150.0, 50.0]
    assert [reading.node_cpu_percent for reading in readings] == [None, None, 75.0]
    assert [reading.pressure_percent for reading in readings] == [None, None, 25.0]


def test_an_instant_survives_its_line() -> None:
    instant = Instant(7, usage(3), MachineCounters(CpuTimes(1, 2), None, 2450.5), cost_ns=9)
    assert Instant.from_line(instant.line().encode()) == instant


def test_a_reading_belongs_to_the_phase_that_began_last() -> None:
    readings = [Reading(at_ns, "", 0.0, 0, 1) for at_ns in (5, 10, 19, 20, 99)]
    phases = (Phase("import", 10), Phase("build", 20))
    named = [reading.phase for reading in assign_phases(readings, phases)]
    assert named == ["", "import", "import", "build", "build"]
