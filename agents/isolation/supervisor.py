"""The supervisor process of one worker: it ends the worker's tree even if the agent dies.

Started by velodrome.agents.isolation.supervised with a bare interpreter. It imports little, so it
is ready in some 20 ms. It consists of two processes:

    agent -> guard -> supervisor -> worker -> whatever the worker starts

The supervisor ends the tree when the worker ends, at the deadline, over the memory limit, when a
signal has stopped the worker for STOPPED_S, and when the agent closes the lifeline, a pipe whose
write end only the agent holds: so also when the agent dies by any signal. Supervisor and guard are
subreapers: an orphan of the tree, in any session, becomes their child and is found through /proc.
The guard does the same if the supervisor is killed; the kernel then kills the worker at once. Both
hold the inherited locks until the tree is gone. The guard is the agent's own child, because in
containers without an init a process that nobody waits for stays as a zombie; Ray may kill it there,
and the supervisor goes on.

stdin is the lifeline. It begins with the Spec's fields as marshal bytes, after their length in 8
bytes. stdout gets two lines of words, `pid=1 supervisor=2`, then `cause=exit status=0 stragglers=0
rss_bytes=0`. status is that of waitpid, -1 if unknown; stragglers is the number of processes alive
when the end began. stdout is closed when the tree is gone.
"""

import _signal  # type: ignore[import-not-found]  # the public module costs 5 ms for its enumerations
import ctypes
import marshal
import os
import resource
import select
import time

from velodrome.agents.isolation.bounded_log import BoundedLog
from velodrome.agents.isolation.process_tree import (
    descendants,
    is_stopped,
    kill_descendants,
    proportional_bytes,
    reap,
    resident_bytes,
)

# Memory is read as often as it could fill up, between these. A reading costs 0.3 ms.
SHORT_S, LONG_S = 0.05, 0.5
FAST_GROWTH = 16 << 30  # bytes a second: few workers fill memory faster
RELIST_S = 1.0  # the tree's processes are listed again
STOPPED_S = 2.0  # by a signal, before the worker is ended: what it times is spoiled
NEVER_S = 1e9
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36

prctl = ctypes.CDLL(None, use_errno=True).prctl


class Spec:
    """The command to start. Empty cpus: inherited. 0: no deadline, no limit. agent: its pid."""

    def __init__(self, fields: dict[str, object]) -> None:
        self.command: list[str]
        self.environ: dict[str, str]
        self.cwd: str
        self.log: str
        self.cpus: list[int]
        self.supervisor_cpus: list[int]
        self.worker_fds: list[int]
        self.held_fds: list[int]
        self.deadline_s: float
        self.memory_bytes: int
        self.agent: int
        self.__dict__.update(fields)


def main() -> None:
    """Start guard, supervisor and worker."""
    spec = Spec(receive_spec(0))
    for number in (_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP):
        _signal.signal(number, ignore_signal)
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    # Back to normal: Ray's workers are the kernel's first choice, and hand that on.
    set_oom_score(0)
    supervisor = os.fork()
    if supervisor:
        guard_supervisor(supervisor, spec)
    else:
        supervise(spec)


def receive_spec(descriptor: int) -> dict[str, object]:
    """Read the Spec's fields from the lifeline."""
    length = int.from_bytes(read_exactly(descriptor, 8), "little")
    fields: dict[str, object] = marshal.loads(read_exactly(descriptor, length))
    return fields


def read_exactly(descriptor: int, length: int) -> bytes:
    content = b""
    while len(content) < length:
        part = os.read(descriptor, length - len(content))
        if not part:
            os._exit(1)  # the agent died before it sent the Spec
        content += part
    return content


def ignore_signal(number: int, frame: object) -> None:
    """Do nothing: only the lifeline counts. A handler, since a worker inherits ignored signals."""


def set_oom_score(score: int) -> None:
    """Set this process' OOM score; 1000 is killed first. Lowering it may be forbidden."""
    try:
        descriptor = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
        os.write(descriptor, b"%d" % score)
        os.close(descriptor)
    except OSError:
        return


def guard_supervisor(supervisor: int, spec: Spec) -> None:
    """Wait for the supervisor; if it is killed, end the tree in its place."""
    for descriptor in [0, *spec.worker_fds]:
        os.close(descriptor)
    _, status = os.waitpid(supervisor, 0)
    stragglers = kill_descendants()
    if status != 0:
        report(b"cause=supervisor status=-1 stragglers=%d rss_bytes=0\n" % stragglers)


def supervise(spec: Spec) -> None:
    """Start the worker, end its tree, and report how it ended."""
    os.setsid()
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    if spec.supervisor_cpus:
        os.sched_setaffinity(0, spec.supervisor_cpus)
    output, worker_output = os.pipe()
    supervisor = os.getpid()
    worker = os.fork()
    if worker == 0:
        become_worker(spec, supervisor, worker_output)
    for descriptor in [worker_output, *spec.worker_fds]:
        os.close(descriptor)
    report(b"pid=%d supervisor=%d\n" % (worker, supervisor))
    log = BoundedLog(spec.log, output)
    memory = TreeMemory(worker, spec.memory_bytes)
    cause, status = wait_for_end(worker, output, log, memory, spec)
    stragglers = kill_descendants()
    log.close()
    rss_bytes = memory.peak_bytes
    report(
        b"cause=%s status=%d stragglers=%d rss_bytes=%d\n" % (cause, status, stragglers, rss_bytes)
    )


def become_worker(spec: Spec, supervisor: int, output: int) -> None:
    """Replace this process by the worker. On failure: exit status 127, the reason in the log."""
    step = "take its streams"
    try:
        os.setsid()
        prctl(PR_SET_PDEATHSIG, _signal.SIGKILL, 0, 0, 0)
        if os.getppid() != supervisor:
            os._exit(127)  # the supervisor died before prctl
        set_oom_score(1000)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a framework's core fills a disk
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for descriptor in spec.held_fds:
            os.close(descriptor)
        for descriptor in spec.worker_fds:
            os.set_inheritable(descriptor, True)  # noqa: FBT003
        for number in (_signal.SIGPIPE, _signal.SIGXFSZ):  # which Python ignores
            _signal.signal(number, _signal.SIG_DFL)
        step = f"use the CPUs {sorted(spec.cpus)}"
        os.sched_setaffinity(0, spec.cpus or os.sched_getaffinity(0))
        step = f"enter {spec.cwd}"
        os.chdir(spec.cwd)
        step = f"run {spec.command[0]}"
        os.execvpe(spec.command[0], spec.command, spec.environ)
    except BaseException as error:
        os.write(2, f"velodrome: cannot {step}: {error}\n".encode(errors="replace"))
    finally:
        os._exit(127)


def wait_for_end(
    worker: int, output: int, log: BoundedLog, memory: "TreeMemory", spec: Spec
) -> tuple[bytes, int]:
    """Wait for a reason to end the tree; return (cause, the worker's status or -1)."""
    poller = select.poll()
    ends = exit_descriptors(worker, spec.agent)
    for descriptor in [0, output, *ends]:
        poller.register(descriptor, select.POLLIN)
    pace_s = NEVER_S if len(ends) == 2 else SHORT_S
    deadline = time.monotonic() + (spec.deadline_s or NEVER_S)
    stopped_from = NEVER_S
    while True:
        now = time.monotonic()
        stopped_from = min(stopped_from, now) if is_stopped(worker) else NEVER_S
        patience_s = max(0.0, min(memory.patience_s, pace_s, deadline - now))
        ready = {descriptor for descriptor, _ in poller.poll(1000 * patience_s)}
        if output in ready and not log.take():
            poller.unregister(output)
        status = reap(worker)
        if status is not None:
            return b"exit", status
        if 0 in ready or not is_alive(spec.agent):
            return b"released", -1
        if time.monotonic() >= deadline:
            return b"deadline", -1
        if memory.is_exceeded():
            return b"memory", -1
        if now - stopped_from >= STOPPED_S:
            return b"worker_stopped", -1


def exit_descriptors(*pids: int) -> list[int]:
    """Open descriptors that are readable when a process ends; none before Linux 5.3."""
    descriptors = []
    for pid in pids:
        try:
            descriptors.append(os.pidfd_open(pid))
        except (AttributeError, OSError):
            continue
    return descriptors


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def report(line: bytes) -> None:
    """Send a line to the agent, which may be dead."""
    try:
        os.write(1, line)
    except OSError:
        return


class TreeMemory:
    """The resident memory of the tree against its limit. patience_s: time to the next reading."""

    def __init__(self, worker: int, limit_bytes: int) -> None:
        self.peak_bytes = 0
        self.patience_s = SHORT_S if limit_bytes else RELIST_S
        self._worker = worker
        self._limit_bytes = limit_bytes
        self._tree = [worker]
        self._listed_at = 0.0
        self._looked_at = 0.0

    def is_exceeded(self) -> bool:
        now = time.monotonic()
        if not self._limit_bytes or now - self._looked_at < self.patience_s / 2:
            return False  # a worker that prints wakes the supervisor far more often
        self._looked_at = now
        if now - self._listed_at > RELIST_S:
            self._tree = [self._worker, *descendants(self._worker)]
            self._listed_at = now
        now_bytes = sum(map(resident_bytes, self._tree))
        self.peak_bytes = max(self.peak_bytes, now_bytes)
        left_bytes = self._limit_bytes - now_bytes
        self.patience_s = min(LONG_S, max(SHORT_S, left_bytes / FAST_GROWTH))
        if left_bytes >= 0 or len(self._tree) == 1:
            return left_bytes < 0
        # A page that a fork shares with its parent counts twice in RSS, but exists once.
        return sum(map(proportional_bytes, self._tree)) > self._limit_bytes
