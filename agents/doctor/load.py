"""Checks of other processes' CPU use, of steal time and of stalls (PSI), between two snapshots."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from velodrome.agents.doctor.finding import DoctorFinding, Subject, join_names
from velodrome.agents.doctor.proc_sys_files import Kernel
from velodrome.agents.sampling.interference_thresholds import OTHER_CORES_PERCENT

# /proc/stat: user nice system idle iowait irq softirq steal; guest time is part of user time.
WORKING = (0, 1, 2, 5, 6)
STEAL = 7
TICKED = 8
NAMED_PERCENT = 2.0  # a process that used less of a core is not named
# Percent of the second in which a process may stall. On a healthy node none waits for memory.
TOLERATED_STALLS = {"cpu": 10.0, "memory": 1.0, "io": 10.0}

LOAD = Subject("other load", "other processes on the cores or on the shared memory slow a task")
STOLEN = Subject("stolen time", "other virtual machines use this machine's cores")
PRESSURE = Subject("pressure", "processes wait for CPU, memory or disk, and so would a task")


@dataclass(frozen=True)
class Snapshot:
    """Counters since boot. cpus: ticks of each CPU; processes: name and ticks of each PID.

    stalled_us: for `cpu`, `memory`, `io`; empty if the kernel does not count that.
    """

    at_ns: int
    cpus: Mapping[int, tuple[int, ...]]
    processes: Mapping[int, tuple[str, int]]
    stalled_us: Mapping[str, int]


def snapshot(kernel: Kernel, at_ns: int | None = None) -> Snapshot:
    """Read all counters. at_ns: of the monotonic clock; default: now."""
    stat = (kernel.text("proc/stat") or "").splitlines()
    rows = [line.split() for line in stat if line.startswith("cpu")]
    return Snapshot(
        at_ns=time.monotonic_ns() if at_ns is None else at_ns,
        cpus={int(row[0][3:]): tuple(map(int, row[1:])) for row in rows if row[0] != "cpu"},
        processes=dict(
            _process(text) for text in kernel.texts("proc/[0-9]*/stat").values() if ")" in text
        ),
        stalled_us={
            what: stalled
            for what in TOLERATED_STALLS
            if (stalled := _stalled_us(kernel.text(f"proc/pressure/{what}"))) is not None
        },
    )


def check_other_load(before: Snapshot, after: Snapshot, own_pid: int) -> DoctorFinding:
    """Check which CPUs were busy, and with which processes; percent of one core."""
    busy = {
        cpu: percent for cpu in after.cpus if (percent := _busy(before, after, cpu)) is not None
    }
    if not busy:
        return LOAD.unknown("the kernel does not state it")
    total = sum(busy.values())
    if total <= OTHER_CORES_PERCENT:
        return LOAD.fine(f"{total:.0f} % of one core")
    worst = sorted(busy, key=lambda cpu: -busy[cpu])
    cores = join_names([f"cpu{cpu} {busy[cpu]:.0f} %" for cpu in worst if busy[cpu] >= 5])
    names = join_names(_busiest(before, after, own_pid), most=3)
    seen = f"{total:.0f} % of one core: {cores or 'spread over many CPUs'}" + (
        f"; {names}" if names else ""
    )
    return LOAD.warning(
        seen, "end them (kill PID), or keep them off the measured cores: sudo taskset -acp 0 PID"
    )


def check_stolen_time(before: Snapshot, after: Snapshot, *, is_guest: bool | None) -> DoctorFinding:
    """Check steal. is_guest None: unknown. Few hosts report steal, so 0 proves nothing."""
    counted = [cpu for cpu in after.cpus if len(after.cpus[cpu]) > STEAL and cpu in before.cpus]
    ticks = [after.cpus[cpu][STEAL] - before.cpus[cpu][STEAL] for cpu in counted]
    elapsed = [_elapsed(before, after, cpu) for cpu in counted]
    if not sum(elapsed):
        return STOLEN.unknown("the kernel does not state it")
    percent = 100 * sum(ticks) / sum(elapsed)
    since_boot = sum(after.cpus[cpu][STEAL] for cpu in counted)
    if percent > 0:
        seen = f"{percent:.1f} % of all CPUs' time in this second"
        return STOLEN.warning(seen, "use bare metal or a dedicated host")
    if is_guest is not False and since_boot == 0:
        return STOLEN.unknown("none since boot; a host that hides it shows the same")
    return STOLEN.fine("none in this second" + (", some since boot" if since_boot else ""))


def check_pressure(before: Snapshot, after: Snapshot) -> DoctorFinding:
    """Check how much of the time at least one process stalled."""
    elapsed_us = (after.at_ns - before.at_ns) / 1000
    shares = {
        what: 100 * (after.stalled_us[what] - before.stalled_us[what]) / elapsed_us
        for what in after.stalled_us
        if what in before.stalled_us and elapsed_us > 0
    }
    if not shares:
        return PRESSURE.unknown("the kernel does not count stalls (boot it with psi=1)")
    seen = ", ".join(f"{what} {share:.0f} %" for what, share in shares.items())
    high = [what for what, share in shares.items() if share > TOLERATED_STALLS[what]]
    if not high:
        return PRESSURE.fine(seen)
    return PRESSURE.warning(
        seen, f"end the processes that compete for {' and '.join(high)} (see top, iotop)"
    )


def _elapsed(before: Snapshot, after: Snapshot, cpu: int) -> int:
    return sum(after.cpus[cpu][:TICKED]) - sum(before.cpus[cpu][:TICKED])


def _busy(before: Snapshot, after: Snapshot, cpu: int) -> float | None:
    if cpu not in before.cpus or not _elapsed(before, after, cpu):
        return None
    ticks = sum(after.cpus[cpu][at] - before.cpus[cpu][at] for at in WORKING)
    return 100 * ticks / _elapsed(before, after, cpu)


def _busiest(before: Snapshot, after: Snapshot, own_pid: int) -> list[str]:
    """`name (pid 5) 80 %`, the busiest first."""
    a_core = max((_elapsed(before, after, cpu) for cpu in after.cpus if cpu in before.cpus))
    used = {
        pid: 100 * (ticks - before.processes.get(pid, ("", 0))[1]) / a_core
        for pid, (_, ticks) in after.processes.items()
        if pid != own_pid
    }
    order = sorted(used, key=lambda pid: -used[pid])
    named = [pid for pid in order if used[pid] >= NAMED_PERCENT]
    return [f"{after.processes[pid][0]} (pid {pid}) {used[pid]:.0f} %" for pid in named]


def _process(stat: str) -> tuple[int, tuple[str, int]]:
    """proc_pid_stat(5): fields 14 and 15 are user and system time; a name may contain spaces."""
    pid, _, rest = stat.partition(" (")
    name, _, fields = rest.rpartition(") ")
    words = fields.split()
    return int(pid), (name, int(words[11]) + int(words[12]))


def _stalled_us(text: str | None) -> int | None:
    """The total of the line `some avg10=0.00 avg60=0.00 avg300=0.00 total=5`."""
    words = (text or "").partition("\n")[0].split()
    total = next((word[6:] for word in words if word.startswith("total=")), "")
    return int(total) if total.isdecimal() and words[0] == "some" else None
