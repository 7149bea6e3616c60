"""Utilization of eight real nodes by tasks of two seconds; all are Rays on one machine.

Plan, queue, dispatcher, RayTransport, the streaming of reports and the rows on disk are real. Only
the agent's execution of a task is replaced: it sleeps and returns a measurement of the usual size.
Real workers would compete for this machine's cores.
"""

import os
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from velodrome.agents.measurement import Measurement
from velodrome.agents.node import Node
from velodrome.scheduler.fleet.attempts import Attempt
from velodrome.scheduler.fleet.pending_work import list_pending_attempts
from velodrome.scheduler.plans.expected_outcomes import Expectations
from velodrome.scheduler.plans.placement import make_plan
from velodrome.scheduler.results.store import Store
from velodrome.scheduler.sweeps.expansion import expand_cells
from velodrome.scheduler.sweeps.sweep import Entrant, Sweep

PROMISED_SHARE = 0.9
NODES = 8
TASK_S = 2.0
BATCH_SIZES = 48  # two frameworks, two models: 24 tasks a node
SWEEP_ID = "small"
SWEEP = Sweep(
    name="small",
    entrants=tuple(Entrant(f"framework{n}", ("default",), ("cpu",)) for n in range(2)),
    models=("lenet", "lstm"),
    batch_sizes=tuple((model, tuple(range(1, BATCH_SIZES + 1))) for model in ("lenet", "lstm")),
    threads=(1,),
    repeats=1,
)


def figures() -> dict[str, object]:
    with tempfile.TemporaryDirectory(prefix="velodrome-small-") as folder:
        os.environ.update(_variables(Path(folder)))
        # Ray reads its variables at its import, which follows.
        with _cluster() as address:
            from velodrome.scheduler.fleet.cluster import connect

            with connect(address):
                return _figures(Store(Path(folder) / "results"))


def _figures(store: Store) -> dict[str, object]:
    from velodrome.scheduler.fleet.dispatch import Dispatcher
    from velodrome.scheduler.fleet.membership import Membership
    from velodrome.scheduler.fleet.row_writer import RowWriter
    from velodrome.scheduler.fleet.work_queue import WorkQueue

    with Membership() as membership, store.hold_sweep(SWEEP_ID):
        nodes = membership.wait_for_nodes(lambda text: print(text, file=sys.stderr))
        made = make_plan(expand_cells(SWEEP), SWEEP, nodes, {})
        store.begin(SWEEP_ID, "name: small", made)
        writer = RowWriter(store, SWEEP_ID, Expectations({}, {}, {}))
        writer.nodes(nodes)
        attempts = list_pending_attempts(made, store, SWEEP_ID)
        queue = WorkQueue(attempts, nodes, lambda attempt, node: True)
        cpu_s = time.process_time()
        Dispatcher(
            queue, _sleeping_transport(membership), writer.event, keep=writer.write_together
        ).run()
        cpu_s = time.process_time() - cpu_s
        rows = store.read("tasks", SWEEP_ID).select(["started_at", "finished_at"]).to_pylist()
    began_s, ended_s = ([_seconds(row[name]) for row in rows] for name in rows[0])
    makespan_s = max(ended_s) - min(began_s)
    share = (sum(ended_s) - sum(began_s)) / len(nodes) / makespan_s
    return {
        "nodes": len(nodes),
        "runs": len(attempts),
        "rows": len(rows),
        "task_s": TASK_S,
        "makespan_s": round(makespan_s, 2),
        "busy_share": round(share, 4),
        "driver_cpu_ms_per_run": round(1e3 * cpu_s / len(attempts), 1),
        "load_of_the_machine": round(os.getloadavg()[0], 1),
        "keeps_promise": share >= PROMISED_SHARE and len(rows) == len(attempts),
    }


def sleep(attempt: Attempt, node: Node, cache: str) -> Iterator[object]:
    """Replace velodrome.scheduler.fleet.node_functions.execute_attempt by a sleep."""
    from velodrome.scheduler.fleet import node_functions

    yield from node_functions._stream(lambda note: _sleep_and_measure(attempt, node))


def _sleep_and_measure(attempt: Attempt, node: Node) -> Measurement:
    import storage_cost

    started_s = time.time()
    time.sleep(TASK_S)
    return replace(
        storage_cost.measurement(0),
        task=attempt.task,
        repeat=attempt.repeat,
        attempt=attempt.number,
        node_id=node.node_id,
        started_at=started_s,
        finished_at=time.time(),
    )


def _sleeping_transport(membership: object) -> object:
    from velodrome.scheduler.fleet.ray_transport import RayTransport

    return RayTransport(membership, execute=sleep)


def _seconds(moment: object) -> float:
    return moment.timestamp() if hasattr(moment, "timestamp") else float(moment)


@contextmanager
def _cluster() -> Iterator[str]:
    """Start a head without CPUs and the nodes; the workers find this folder's modules."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False}
    )
    try:
        for _ in range(NODES):
            cluster.add_node(num_cpus=1, object_store_memory=80_000_000)
        yield cluster.address
    finally:
        cluster.shutdown()


def _variables(folder: Path) -> dict[str, str]:
    """Return variables with a token for this cluster only, as for an embedded Ray."""
    token = folder / "token"
    token.touch(mode=0o600)
    token.write_text(secrets.token_hex(32))
    here = str(Path(__file__).parent)
    return {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_enable_open_telemetry": "0",
        "PYTHONPATH": os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH")))),
    }
