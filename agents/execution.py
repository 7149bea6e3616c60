"""Execution of one task on this node, from its environment to its measurement."""

import functools
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from velodrome.adapters.models import MODELS
from velodrome.adapters.protocol import Failed, Finished, Hello
from velodrome.adapters.registry import Framework
from velodrome.agents.batch_search.search import FoundBatchSize, NoSizeFound, find_batch_size
from velodrome.agents.canary import add_canaries, canary_for
from velodrome.agents.cores.assignment import DoesNotFit, ResourceRequest, divide_cpus
from velodrome.agents.cores.core_locks import (
    LockedShare,
    WaitedTooLong,
    lock_resources,
    require_feasible,
)
from velodrome.agents.environments.disk_layout import home_of
from velodrome.agents.environments.environment import Environment
from velodrome.agents.environments.frameworks import find_framework
from velodrome.agents.environments.store import EnvironmentStore
from velodrome.agents.gpu_models import with_gpus
from velodrome.agents.isolation import orphans
from velodrome.agents.isolation.worker_process import WorkerBounds, memory_limit
from velodrome.agents.measurement import Measurement, Status
from velodrome.agents.node import Node
from velodrome.agents.node_prices import price_task
from velodrome.agents.outcomes import WorkerLimits, decide_outcome
from velodrome.agents.phases import explain_missing, has_none
from velodrome.agents.references import ReferenceFailed, obtain_reference
from velodrome.agents.requests import measure_request, resource_request
from velodrome.agents.rerun_command import rerun_command
from velodrome.agents.safe_text import TAIL_BYTES, sanitize
from velodrome.agents.sampling.background_load import CpuCounts
from velodrome.agents.sampling.gpu_interference import find_gpu_interference
from velodrome.agents.sampling.interference import summarize_interference
from velodrome.agents.sampling.readings import assign_phases
from velodrome.agents.sampling.utilization import summarize_utilization
from velodrome.agents.session import Session, WorkerSetting, run_session
from velodrome.agents.start_failures import START_FAILURES, describe_start_failure
from velodrome.agents.task import Task
from velodrome.agents.vendor_peak import find_task_peak
from velodrome.agents.worker_report import add_events, last, phases

__all__ = ["GroupLink", "Note", "execute", "rerun_command"]

LOCKS_DEADLINE_S = 7200.0


@dataclass(frozen=True)
class GroupLink:
    """The way from a group's leading node to the processes on its other nodes.

    address: of this node. peers: theirs, `host:port`, in the order of ranks. token: known to all.
    """

    address: str
    peers: tuple[str, ...]
    token: str


@dataclass(frozen=True)
class Note:
    """A progress message of the agent while no worker runs."""

    text: str


def execute(
    task: Task,
    *,
    node: Node,
    repeat: int,
    attempt: int,
    environments: EnvironmentStore,
    on_event: Callable[[object], None],
    gpu_uuids: tuple[str, ...] = (),
    locks_deadline_s: float = LOCKS_DEADLINE_S,
    link: GroupLink | None = None,
) -> Measurement:
    """Execute one task: build what is missing, wait for the cores, run the worker.

    Every outcome is a Measurement. on_event gets the worker's events and Notes. gpu_uuids: only
    these GPUs. link: of a task on several nodes, which this one leads. Raises only faults of
    Velodrome or on_event, and KeyboardInterrupt; the worker's whole tree is gone by then.
    """
    _remove_orphans_once()
    started_s = time.monotonic()
    blank = Measurement(
        task=task,
        repeat=repeat,
        attempt=attempt,
        status=Status.CRASHED,
        reason="",
        node_id=node.node_id,
        hostname=node.hostname,
        node_type=node.node_type,
        cpu_model=node.cpu_model,
        started_at=time.time(),
        finished_at=0.0,
        rerun=rerun_command(task),
        price=price_task(task, node),
    )
    need = resource_request(task, gpu_uuids)
    try:
        measurement = _run(blank, need, node, environments, on_event, locks_deadline_s, link)
    except NoSizeFound as error:
        measurement = _without_run(blank, error.status, error.reason, error.log_tail)
    except START_FAILURES as error:
        if isinstance(error, WaitedTooLong):
            blank = replace(blank, waited_ns=round(locks_deadline_s * 1e9))
        measurement = _without_run(blank, *describe_start_failure(error))
    # The wall clock may be set meanwhile, so the monotonic clock measures the duration.
    return replace(measurement, finished_at=measurement.started_at + time.monotonic() - started_s)


def _run(
    blank: Measurement,
    need: ResourceRequest,
    node: Node,
    environments: EnvironmentStore,
    on_event: Callable[[object], None],
    locks_deadline_s: float,
    link: GroupLink | None,
) -> Measurement:
    task = blank.task
    if task.nodes > 1 and link is None:
        reason = f"it computes on {task.nodes} nodes together, which a sweep on a cluster gives it"
        return _without_run(blank, Status.UNPLACEABLE, reason)
    if task.model in MODELS and has_none(task.model, task.phases):
        reason = explain_missing(task.model, task.phases)
        return _without_run(blank, Status.UNSUPPORTED, reason)

    def note(text: str) -> None:
        on_event(Note(text))

    framework = find_framework(task.framework)
    # First, so that nothing is downloaded for a task that cannot run here.
    require_feasible(node, need)
    _require_memory(node, task.limits.memory_bytes)
    environment = environments.build(task.framework, task.accelerator, note, task.lock_hash)
    blank = replace(blank, environment_hash=environment.hash)
    home = home_of(environments.root)

    @contextmanager
    def locked() -> Iterator[tuple[WorkerSetting, int]]:
        """Lock the task's resources for the block; yield them, and the wait in ns."""
        requested_ns = time.monotonic_ns()
        with lock_resources(node, need, deadline_s=locks_deadline_s, on_wait=note) as locks:
            waited_ns = time.monotonic_ns() - requested_ns
            yield make_setting(environment, framework, home, locks, task, node), waited_ns

    found = None
    if task.batch_size_rule:
        with locked() as (setting, _):
            found = find_batch_size(task, node, setting, note)
        blank = _with_batch_size(blank, found)
        task = blank.task
    try:
        reference = obtain_reference(task, node, environments, note)
    except ReferenceFailed as error:
        return _without_run(blank, error.status, error.reason, error.log_tail)
    canary = canary_for(task, node, environments, note)
    with locked() as (setting, waited_ns):
        blank = replace(blank, waited_ns=waited_ns)
        before = canary.run_before(setting)
        ready_ns = time.monotonic_ns()
        request = measure_request(task, framework)._replace(cpus=setting.bounds.cpus_by_device)
        if link:
            request = request._replace(**asdict(link))
        session = run_session(request, setting, on_event, reference.content)
        after = canary.run_after(setting) if before.ns else before
    measurement = _measurement(blank, session, setting, ready_ns, node)
    if found and measurement.status is Status.OUT_OF_MEMORY:
        found.lower()
    notes = (*blank.notes, *measurement.notes, *reference.notes)
    return add_canaries(replace(measurement, notes=notes), before, after)


def _with_batch_size(blank: Measurement, found: FoundBatchSize) -> Measurement:
    task = replace(blank.task, batch_size=found.size)
    return replace(blank, task=task, rerun=rerun_command(task), notes=(found.note,))


def _require_memory(node: Node, needed_bytes: int) -> None:
    """Raise DoesNotFit, worded as in a plan."""
    if needed_bytes > node.ram_bytes > 0:
        needed, present = needed_bytes / 2**30, node.ram_bytes / 2**30
        raise DoesNotFit(f"{needed:.1f} GiB of memory, and {node.hostname} has {present:.1f} GiB")


def make_setting(
    environment: Environment,
    framework: Framework,
    home: Path,
    locks: LockedShare,
    task: Task,
    node: Node,
) -> WorkerSetting:
    """Return the setting of a task's worker on the resources that are locked for it."""
    allotment = locks.share.allotment
    sampler_cpu = allotment.sampler_cpu
    bounds = WorkerBounds(
        cpus=allotment.cpus,
        cpus_by_device=divide_cpus(allotment, task.node_devices),
        supervisor_cpus=() if sampler_cpu is None else (sampler_cpu,),
        memory_bytes=memory_limit(node, task.limits.memory_bytes),
        deadline_s=task.limits.deadline_s,
        held_fds=locks.descriptors,
    )
    return WorkerSetting(
        environment, framework, home, bounds, locks.share.gpus, task.sampling_hz, sampler_cpu
    )


def _measurement(
    blank: Measurement, session: Session, setting: WorkerSetting, ready_ns: int, node: Node
) -> Measurement:
    bounds = setting.bounds
    limits = WorkerLimits(bounds.deadline_s, bounds.memory_bytes, blank.task.timing)
    verdict = decide_outcome(session, limits)
    reported = add_events(blank, session.events)
    hello = last(session.events, Hello)
    finished = last(session.events, Finished)
    begun_phases = phases(session.events)
    readings = assign_phases(session.readings, begun_phases)
    interference = summarize_interference(
        readings, _cpu_counts(setting.bounds, node), find_gpu_interference(readings)
    )
    used = summarize_utilization(
        readings,
        begun_phases,
        samples=reported.samples,
        peak_rss_bytes=session.peak_rss_bytes,
        ended_ns=finished.at_ns if finished else None,
    )
    peak = find_task_peak(blank.task, node, bounds.cpus, setting.gpus, readings)
    return replace(
        with_gpus(reported, setting.gpus),
        vendor_peak_flops_per_s=peak.flops_per_s,
        vendor_peak_source=peak.source,
        vendor_peak_reason=peak.reason,
        status=verdict.status,
        reason=verdict.reason,
        origin=verdict.origin,
        log_tail=_log_with_failure(session),
        checks=reported.checks + session.checks,
        provision_ns=hello.at_ns - ready_ns if hello else None,
        readings=readings,
        peak_rss_bytes=used.peak_rss_bytes,
        sampling_cpu_s=session.sampling_cpu_s,
        peak_gpu_memory_bytes=reported.peak_gpu_memory_bytes or used.peak_gpu_memory_bytes,
        energy_j=used.energy_j,
        energy_source=used.energy_source,
        energy_reason=used.energy_reason,
        energies=used.energies,
        energy_deviation_percent=used.energy_deviation_percent,
        peak_gpu_process_memory_bytes=used.peak_gpu_process_memory_bytes,
        means=used.means,
        interference_free=interference.interference_free,
        interference=interference.interference,
        minor_interference=interference.minor_interference,
        other_cpu_percent_mean=interference.other_cpu_percent,
        steal_percent_mean=interference.steal_percent,
        other_cores_percent_mean=interference.other_cores_percent,
        notes=reported.notes + session.notes + verdict.notes + used.notes,
    )


def _cpu_counts(bounds: WorkerBounds, node: Node) -> CpuCounts:
    cpus = set(bounds.cpus)
    own = [core for core in node.cores if cpus.intersection(core.cpus)]
    return CpuCounts(
        task_cpus=len(cpus),
        core_cpus=len(cpus.union(*(core.cpus for core in own))),
        machine_cpus=os.cpu_count() or 1,
    )


def _log_with_failure(session: Session) -> str:
    """Return the worker's output, with the failure's detail unless it was printed too."""
    failed = last(session.events, Failed)
    detail = sanitize(failed.detail)[-TAIL_BYTES:] if failed else ""
    printed = detail and detail.splitlines()[-1] in session.log_tail
    return session.log_tail if printed else "\n".join(filter(None, (session.log_tail, detail)))


def _without_run(
    blank: Measurement, status: Status, reason: str, log_tail: str = ""
) -> Measurement:
    """Return the measurement of a task whose worker did not run."""
    return replace(blank, status=status, reason=reason, log_tail=sanitize(log_tail)[-TAIL_BYTES:])


@functools.cache
def _remove_orphans_once() -> None:
    orphans.remove_orphans()
