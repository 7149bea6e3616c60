"""Earlier runs of a nightly sweep, made from its newest one."""

import math
import random
from datetime import UTC, datetime, timedelta

from velodrome.adapters.protocol import Timed
from velodrome.agents.measurement import Measurement, Status
from velodrome.agents.task import Task
from velodrome.scheduler.history.history_reading import list_run_ids, parse_sweep_name
from velodrome.scheduler.plans.placement import Plan
from velodrome.scheduler.results.store import Store


def put_earlier(store: Store, sweep: str, days: int, spread: float) -> None:
    """Copy the newest run of a sweep file's text to some days before, with other times.

    spread: standard deviation of their logarithms.
    """
    newest = list_run_ids(store, parse_sweep_name(sweep))[0]
    at = datetime.now(UTC) - timedelta(days=days)
    sweep_id = f"{at:%Y%m%d-%H%M%S}-{days:08x}"
    draw = random.Random(days)
    with store.hold_sweep(sweep_id):
        store.begin(sweep_id, sweep, Plan())
        for row in store.read("tasks", newest).to_pylist():
            times = {
                phase: Timed(phase, ns, 0.99 * ns, 1.01 * ns, 9, 1, 1, "target", stable=True)
                for phase in ("forward", "gradient")
                for ns in [row[f"{phase}_median_ns"] * math.exp(draw.gauss(0, spread))]
            }
            fields = ("framework", "variant", "model", "batch_size", "device", "gpu_count")
            store.put(
                sweep_id,
                Measurement(
                    task=Task(**{name: row[name] for name in fields}, threads=1),
                    repeat=row["repeat"],
                    attempt=1,
                    status=Status.OK,
                    reason="",
                    node_id=row["node_id"],
                    hostname=row["hostname"],
                    node_type=row["node_type"],
                    gpu_uuids=tuple(row["gpu_uuids"] or ()),
                    started_at=at.timestamp(),
                    finished_at=at.timestamp() + 3,
                    **times,
                ),
            )
