"""Outliers as text tables, as flat rows, and as one line below another report."""

from collections.abc import Sequence

from velodrome.scheduler.reports.outliers import FEWEST, Deviation, Outlier, TaskTimes

LEFT = 3  # columns of words
COLUMNS = (
    "hostname",
    "node_id",
    "gpu_uuids",
    "node_type",
    "hardware",
    "verdict",
    "outlier_tasks",
    "tasks",
    "median_ratio",
    "worst_framework",
    "worst_variant",
    "worst_model",
    "worst_batch_size",
    "worst_device",
    "worst_threads",
    "worst_ratio",
    "worst_z",
    "worst_machines",
)
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


def flat_rows(found: Sequence[Outlier]) -> list[dict[str, object]]:
    """Build a flat row per outlier; `worst_` columns are of the task with the largest deviation."""
    return [
        {
            "hostname": outlier.machine.hostname,
            "node_id": outlier.machine.node_id,
            "gpu_uuids": ",".join(outlier.machine.gpu_uuids),
            "node_type": outlier.worst.task.platform.node_type,
            "hardware": outlier.worst.task.platform.hardware,
            "verdict": outlier.verdict,
            "outlier_tasks": len(outlier.deviations),
            "tasks": outlier.tasks,
            "median_ratio": outlier.ratio,
            **_flatten_worst(outlier.worst),
        }
        for outlier in found
    ]


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
    return f"{task.impl.label}, {task.workload.model} b{task.workload.batch_size}, {where}"


def _flatten_worst(deviation: Deviation) -> dict[str, object]:
    task = deviation.task
    return {
        "worst_framework": task.impl.framework,
        "worst_variant": task.impl.variant,
        "worst_model": task.workload.model,
        "worst_batch_size": task.workload.batch_size,
        "worst_device": task.platform.device,
        "worst_threads": task.platform.threads,
        "worst_ratio": deviation.ratio,
        "worst_z": deviation.z,
        "worst_machines": len(task.times_ns),
    }
