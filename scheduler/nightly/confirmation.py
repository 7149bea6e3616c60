"""The plan for measuring suspicious cells again, on the same nodes. Pure."""

from collections.abc import Sequence

from velodrome.agents.task import Task
from velodrome.scheduler.history.cell_series import NodeCell
from velodrome.scheduler.history.latest_run import CellVerdict
from velodrome.scheduler.plans.alternatives import NodeConstraint
from velodrome.scheduler.plans.placement import FIRST_CONFIRMATION, Placement, Plan
from velodrome.scheduler.results.typed_rows import CellKey


def plan_confirmation(plan: Plan, suspicious: Sequence[CellVerdict], repeats: int) -> Plan:
    """Plan interleaved repeats of each cell on its own node and GPUs.

    Repeats are numbered from FIRST_CONFIRMATION on, those on several nodes consecutively.
    """
    tasks = {CellKey.of(placement.task): placement.task for placement in plan.placements}
    cells = [verdict.cell for verdict in suspicious if verdict.cell.key in tasks]
    return Plan(
        tuple(
            _place(tasks[cell.key], cell, FIRST_CONFIRMATION + index * repeats + repeat)
            for repeat in range(repeats)
            for index, cell in enumerate(cells)
        )
    )


def _place(task: Task, cell: NodeCell, repeat: int) -> Placement:
    constraint = NodeConstraint(node_id=cell.node_id)
    gpus = ",".join(cell.gpu_uuids)
    return Placement(task, repeat, cell.node_id, cell.node_id, gpus, constraint, (0, cell.node_id))
