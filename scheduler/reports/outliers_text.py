"""Outliers as text tables, as flat rows, and as one line below another report."""

from collections.abc import Callable, Mapping, Sequence

from velodrome.scheduler.reports.outliers import FEWEST, Deviation, Outlier, TaskTimes

LEFT = 3  # columns of words
NAMED = 3  # in one line
LEGEND = (
    "ratio: to the median of the node type · z: robust z-score, distance to that median over "
    "1.4826 MAD · outlier: |z| > 3.5 and 5 % off or more, in at least two tasks and a tenth of all"
)


def table_rows(found: Sequence[Outlier]) -> list[dict[str, str]]:
    """Build rows of text, with a GPU column only if any outlier is a GPU."""
    has_gpus = any(outlier.machine.gpu_uuids for outlier in found)
    return [
        _format_machine(outlier)
        | (_format_gpus(outlier) if has_gpus else {})
        | _format_evidence(outlier)
        for outlier in found
    ]


def build_flat_rows(found: Sequence[Outlier]) -> list[dict[str, object]]:
    """Build a flat row per outlier; `worst_` columns are of the task with the largest deviation."""
    return [{name: read(outlier) for name, read in _FIELDS.items()} for outlier in found]


def summarize_comparison(tasks: Sequence[TaskTimes], found: Sequence[Outlier]) -> str:
    """Count the compared machines and tasks, and the outliers."""
    compared = [task for task in tasks if task.is_comparable]
    if not compared:
        return f"no comparison: no task ran on {FEWEST} or more machines of one type"
    machines = {machine for task in compared for machine in task.times_ns}
    few = len(tasks) - len(compared)
    left_out = f" ({few} more ran on fewer than {FEWEST} machines of a type)" if few else ""
    outcome = f"{len(found)} outlier{'s' if len(found) != 1 else ''}" if found else "no outliers"
    count = f"{len(compared)} task{'s' if len(compared) != 1 else ''}"
    return f"{len(machines)} machines compared in {count}{left_out}: {outcome}"


def summarize_outliers(found: Sequence[Outlier]) -> str:
    """Name the outliers in one line; empty without any."""
    if not found:
        return ""
    parts = [_describe_one(outlier) for outlier in found[:NAMED]]
    rest = [f"and {len(found) - NAMED} more"] if len(found) > NAMED else []
    return f"outlier: {'; '.join([*parts, *rest])} (velodrome report --outliers)"


def _describe_one(outlier: Outlier) -> str:
    return (
        f"{_format(outlier)} is {outlier.verdict}, {outlier.ratio:.2f}x the median of its type "
        f"in {len(outlier.deviations)} of {outlier.tasks} task{'s' if outlier.tasks != 1 else ''}"
    )


def _format(outlier: Outlier) -> str:
    """Format as `node7` or `GPU-1a2b on node7`."""
    gpus = " ".join(outlier.machine.gpu_uuids)
    return f"{gpus} on {outlier.machine.hostname}" if gpus else outlier.machine.hostname


def _format_machine(outlier: Outlier) -> dict[str, str]:
    platform = outlier.worst.task.platform
    return {
        "node": outlier.machine.hostname,
        "verdict": outlier.verdict,
        "hardware": platform.hardware,
    }


def _format_gpus(outlier: Outlier) -> dict[str, str]:
    return {"GPU": " ".join(outlier.machine.gpu_uuids) or "-"}


def _format_evidence(outlier: Outlier) -> dict[str, str]:
    worst = outlier.worst
    return {
        "outlier in tasks": f"{len(outlier.deviations)} of {outlier.tasks}",
        "median ratio": f"{outlier.ratio:.3f}x",
        "worst task": _format_task(worst),
        "ratio": f"{worst.ratio:.3f}x",
        "z": f"{worst.z:+.1f}",
        "machines": str(len(worst.task.times_ns)),
    }


def _format_task(deviation: Deviation) -> str:
    task = deviation.task
    where = f"{task.platform.device_name} {task.platform.threads}t"
    return f"{task.impl.label}, {task.workload.label}, {where}"


_FIELDS: Mapping[str, Callable[[Outlier], object]] = {
    "hostname": lambda outlier: outlier.machine.hostname,
    "node_id": lambda outlier: outlier.machine.node_id,
    "gpu_uuids": lambda outlier: ",".join(outlier.machine.gpu_uuids),
    "node_type": lambda outlier: outlier.worst.task.platform.node_type,
    "hardware": lambda outlier: outlier.worst.task.platform.hardware,
    "verdict": lambda outlier: outlier.verdict,
    "outlier_tasks": lambda outlier: len(outlier.deviations),
    "tasks": lambda outlier: outlier.tasks,
    "median_ratio": lambda outlier: outlier.ratio,
    "worst_framework": lambda outlier: outlier.worst.task.impl.framework,
    "worst_variant": lambda outlier: outlier.worst.task.impl.variant,
    "worst_model": lambda outlier: outlier.worst.task.workload.model,
    "worst_batch_size": lambda outlier: outlier.worst.task.workload.batch_size,
    "worst_device": lambda outlier: outlier.worst.task.platform.device,
    "worst_threads": lambda outlier: outlier.worst.task.platform.threads,
    "worst_ratio": lambda outlier: outlier.worst.ratio,
    "worst_z": lambda outlier: outlier.worst.z,
    "worst_machines": lambda outlier: len(outlier.worst.task.times_ns),
}
COLUMNS = tuple(_FIELDS)
