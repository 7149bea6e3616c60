"""The plan for measuring suspicious cells again, on the same nodes. Pure."""

from collections.abc import Sequence

from velodrome.agents.task import Task
from velodrome.scheduler.history.cell_series import NodeCell
from velodrome.scheduler.history.latest_run import Watched
from velodrome.scheduler.plans.alternatives import NodeConstraint
from velodrome.scheduler.plans.placement import CONFIRMING, Placement, Plan
from velodrome.scheduler.results.typed_rows import CellKey


def again(plan: Plan, suspicious: Sequence[Watched], repeats: int) -> Plan:
    """Plan interleaved repeats of each cell on its own node and GPUs.

    Repeats are numbered from CONFIRMING on, those on several nodes consecutively.
    """
    tasks = {CellKey.of(placement.task): placement.task for placement in plan.placements}
    wanted = [one.cell for one in suspicious if one.cell.key in tasks]
    return Plan(
        tuple(
            _placement(tasks[cell.key], cell, CONFIRMING + at * repeats + repeat)
            for repeat in range(repeats)
            for at, cell in enumerate(wanted)
        )
    )


def _placement(task: Task, cell: NodeCell, repeat: int) -> Placement:
    home = NodeConstraint(node_id=cell.node_id)
    gpus = ",".join(cell.gpu_uuids)
    return Placement(task, repeat, cell.node_id, cell.node_id, gpus, home, (0, cell.node_id))
