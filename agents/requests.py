"""Requests of a task: to its workers, and for its cores and GPUs."""

from pathlib import Path

from velodrome.adapters.models import MODELS
from velodrome.adapters.models.code_kinds import choose_adapter
from velodrome.adapters.protocol import Request
from velodrome.adapters.registry import Framework
from velodrome.agents.cores.assignment import ResourceRequest
from velodrome.agents.phases import USUAL_OPTIMIZER
from velodrome.agents.task import Task


def measure_request(task: Task, framework: Framework) -> Request:
    """Build the request to measure a task; the session adds its reference."""
    return Request(
        action="measure",
        framework=framework.name,
        adapter=choose_adapter(framework.adapter, MODELS.get(task.model)),
        variant=task.variant,
        model=task.model,
        batch_size=task.batch_size,
        device=task.device,
        threads=task.threads,
        dtype=task.dtype,
        seed=task.seed,
        reference="",
        timing=task.timing,
        phases=task.phases,
        optimizer=task.optimizer or USUAL_OPTIMIZER,
        devices=task.node_devices,
        nodes=task.nodes,
    )


def resource_request(task: Task, gpu_uuids: tuple[str, ...]) -> ResourceRequest:
    """Build the request for cores and GPUs of a node. gpu_uuids: only these; empty: any."""
    return ResourceRequest(
        task.total_threads, task.gpu_count, task.gpu_model, gpu_uuids, task.exclusive
    )


def reference_request(task: Task, framework: Framework, threads: int, path: Path) -> Request:
    """Build the request to compute a task's reference on the CPU. path: of its file."""
    return measure_request(task, framework)._replace(
        action="reference",
        variant=framework.default_variant,
        device="cpu",
        threads=threads,
        reference=str(path),
    )
