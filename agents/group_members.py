"""A node's part of a task on several nodes, which another node leads."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from velodrome.adapters.protocol import Failed, Finished, Listening, Phase
from velodrome.agents.cores.core_locks import lock_resources
from velodrome.agents.environments.disk_layout import home_of
from velodrome.agents.environments.frameworks import find_framework
from velodrome.agents.environments.store import EnvironmentStore
from velodrome.agents.execution import LOCKS_DEADLINE_S, Note, make_setting
from velodrome.agents.measurement import EndOrigin, Status
from velodrome.agents.node import Node
from velodrome.agents.outcomes import WorkerLimits, decide_outcome
from velodrome.agents.requests import measure_request, resource_request
from velodrome.agents.sampling.utilization import Utilization, summarize_utilization
from velodrome.agents.session import Session, run_session
from velodrome.agents.start_failures import START_FAILURES, describe_start_failure
from velodrome.agents.task import Task
from velodrome.agents.worker_report import last, phases

# Beyond the task's deadline: the leader may have to compute the reference first.
LONGER_S = 3600.0


@dataclass(frozen=True)
class MemberEnd:
    """The end of a node's part: status OK, or why it ended before the leader told it to.

    waited_ns: for its cores. used: None if no worker ran.
    """

    hostname: str
    status: Status
    reason: str = ""
    origin: EndOrigin = EndOrigin.OWN
    log_tail: str = ""
    used: Utilization | None = None
    waited_ns: int = 0


def follow(
    task: Task,
    *,
    node: Node,
    environments: EnvironmentStore,
    on_event: Callable[[object], None],
    address: str,
    token: str,
    gpu_uuids: tuple[str, ...] = (),
) -> MemberEnd:
    """Run this node's processes of a task until the leading node ends it.

    on_event gets Listening, once, with their addresses, then a Phase when the leader has connected
    and at each of its phases, a Failed as soon as it arrives, and Notes. address: of this node, for
    the others. token: which all processes of the group know.
    """
    try:
        return _follow(task, node, environments, on_event, address, token, gpu_uuids)
    except START_FAILURES as error:
        failure = describe_start_failure(error)
        return MemberEnd(node.hostname, failure.status, failure.reason, log_tail=failure.log_tail)


def _follow(
    task: Task,
    node: Node,
    environments: EnvironmentStore,
    on_event: Callable[[object], None],
    address: str,
    token: str,
    gpu_uuids: tuple[str, ...],
) -> MemberEnd:
    def note(text: str) -> None:
        on_event(Note(text))

    def pass_on(event: object) -> None:
        if isinstance(event, Listening | Phase | Failed):
            on_event(event)

    need = resource_request(task, gpu_uuids)
    framework = find_framework(task.framework)
    environment = environments.build(task.framework, task.accelerator, note, task.lock_hash)
    began_ns = time.monotonic_ns()
    with lock_resources(node, need, deadline_s=LOCKS_DEADLINE_S, on_wait=note) as locks:
        waited_ns = time.monotonic_ns() - began_ns
        home = home_of(environments.root)
        setting = make_setting(environment, framework, home, locks, task, node)
        bounds = replace(setting.bounds, deadline_s=setting.bounds.deadline_s + LONGER_S)
        setting = replace(setting, bounds=bounds)
        request = measure_request(task, framework)._replace(
            action="follow", address=address, token=token, cpus=bounds.cpus_by_device
        )
        session = run_session(request, setting, pass_on)
    outcome = decide_outcome(
        session, WorkerLimits(bounds.deadline_s, bounds.memory_bytes, task.timing)
    )
    return MemberEnd(
        node.hostname,
        outcome.status,
        outcome.reason,
        outcome.origin,
        session.log_tail if outcome.reason else "",
        _summarize(session),
        waited_ns,
    )


def _summarize(session: Session) -> Utilization:
    """Summarize the readings over the leader's timed phases, as far as it has told of them."""
    finished = last(session.events, Finished)
    return summarize_utilization(
        session.readings,
        phases(session.events),
        peak_rss_bytes=session.peak_rss_bytes,
        ended_ns=finished.at_ns if finished else None,
    )
