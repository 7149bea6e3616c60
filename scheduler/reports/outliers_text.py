"""The outliers, as rows for tables, as flat rows, and as one line below another report."""

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
    "ratio: over the median of all of the type · z: distance to that median over 1.4826 MAD · "
    "outlier: |z| above 3.5 and 5 % off or more, in two tasks or more and a tenth of them"
)


def table_rows(found: Sequence[Outlier]) -> list[dict[str, str]]:
    """As text. A column of GPUs only where there are any."""
    has_gpus = any(outlier.machine.gpu_uuids for outlier in found)
    return [
        _text(outlier) | (_gpus(outlier) if has_gpus else {}) | _evidence(outlier)
        for outlier in found
    ]


def flat(found: Sequence[Outlier]) -> list[dict[str, object]]:
    """One row per outlier, for JSON and CSV; `worst_` tells of the task it is furthest off in."""
    return [
        {
            "hostname": outlier.machine.hostname,
            "node_id": outlier.machine.node_id,
            "gpu_uuids": ",".join(outlier.machine.gpu_uuids),
            "node_type": outlier.worst.heat.platform.node_type,
            "hardware": outlier.worst.heat.platform.hardware,
            "verdict": outlier.verdict,
            "outlier_tasks": len(outlier.deviations),
            "tasks": outlier.tasks,
            "median_ratio": outlier.ratio,
            **_worst(outlier.worst),
        }
        for outlier in found
    ]


def summarize_comparison(heats: Sequence[TaskTimes], found: Sequence[Outlier]) -> str:
    """What was compared, what could not be, and what came of it."""
    compared = [heat for heat in heats if heat.is_comparable]
    if not compared:
        return f"nothing was compared: no task ran on {FEWEST} machines of one type or more"
    machines = {machine for heat in compared for machine in heat.times_ns}
    few = len(heats) - len(compared)
    left_out = f", {few} more ran on fewer than {FEWEST} of a type" if few else ""
    outcome = f"{len(found)} outlier" if found else "no outlier"
    tasks = f"{len(compared)} task{'s' if len(compared) != 1 else ''}"
    return f"{len(machines)} machines compared in {tasks}{left_out}: {outcome}"


def summarize_outliers(found: Sequence[Outlier]) -> str:
    """Names the outlier ones; empty without any."""
    if not found:
        return ""
    named = [_sentence(outlier) for outlier in found[:NAMED]]
    more = [f"and {len(found) - NAMED} more"] if len(found) > NAMED else []
    return f"outlier: {'; '.join([*named, *more])} (velodrome report --outliers)"


def _sentence(outlier: Outlier) -> str:
    return (
        f"{_name(outlier)} is {outlier.verdict}, {outlier.ratio:.2f}x the median of its type "
        f"in {len(outlier.deviations)} of {outlier.tasks} task{'s' if outlier.tasks != 1 else ''}"
    )


def _name(outlier: Outlier) -> str:
    """E.g. `node7`, or `GPU-1a2b on node7`."""
    gpus = " ".join(outlier.machine.gpu_uuids)
    return f"{gpus} on {outlier.machine.hostname}" if gpus else outlier.machine.hostname


def _text(outlier: Outlier) -> dict[str, str]:
    platform = outlier.worst.heat.platform
    return {"node": outlier.machine.hostname, "is": outlier.verdict, "hardware": platform.hardware}


def _gpus(outlier: Outlier) -> dict[str, str]:
    return {"GPU": " ".join(outlier.machine.gpu_uuids) or "-"}


def _evidence(outlier: Outlier) -> dict[str, str]:
    worst = outlier.worst
    return {
        "outlier in": f"{len(outlier.deviations)} of {outlier.tasks}",
        "median ratio": f"{outlier.ratio:.3f}x",
        "worst in": _task(worst),
        "ratio": f"{worst.ratio:.3f}x",
        "z": f"{worst.z:+.1f}",
        "of": str(len(worst.heat.times_ns)),
    }


def _task(deviation: Deviation) -> str:
    heat = deviation.heat
    where = f"{heat.platform.device_name} {heat.platform.threads}t"
    return f"{heat.impl.label}, {heat.workload.model} b{heat.workload.batch_size}, {where}"


def _worst(deviation: Deviation) -> dict[str, object]:
    heat = deviation.heat
    return {
        "worst_framework": heat.impl.framework,
        "worst_variant": heat.impl.variant,
        "worst_model": heat.workload.model,
        "worst_batch_size": heat.workload.batch_size,
        "worst_device": heat.platform.device,
        "worst_threads": heat.platform.threads,
        "worst_ratio": deviation.ratio,
        "worst_z": deviation.z,
        "worst_machines": len(heat.times_ns),
    }
