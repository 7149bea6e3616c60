"""The odd ones out, as rows for tables, as flat rows, and as one line below another report."""

from collections.abc import Sequence

from velodrome.scheduler.reports.outliers import FEWEST, Deviation, Heat, OddOne

LEFT = 3  # columns of words
COLUMNS = (
    "hostname",
    "node_id",
    "gpu_uuids",
    "node_type",
    "hardware",
    "verdict",
    "odd_tasks",
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
    "odd: |z| above 3.5 and 5 % off or more, in two tasks or more and a tenth of them"
)


def table_rows(found: Sequence[OddOne]) -> list[dict[str, str]]:
    """As text. A column of GPUs only where there are any."""
    has_gpus = any(odd.machine.gpu_uuids for odd in found)
    return [_text(odd) | (_gpus(odd) if has_gpus else {}) | _evidence(odd) for odd in found]


def flat(found: Sequence[OddOne]) -> list[dict[str, object]]:
    """One row per odd one, for JSON and CSV; `worst_` tells of the task it is furthest off in."""
    return [
        {
            "hostname": odd.machine.hostname,
            "node_id": odd.machine.node_id,
            "gpu_uuids": ",".join(odd.machine.gpu_uuids),
            "node_type": odd.worst.heat.block.node_type,
            "hardware": odd.worst.heat.block.hardware,
            "verdict": odd.verdict,
            "odd_tasks": len(odd.deviations),
            "tasks": odd.tasks,
            "median_ratio": odd.ratio,
            **_worst(odd.worst),
        }
        for odd in found
    ]


def summary(heats: Sequence[Heat], found: Sequence[OddOne]) -> str:
    """What was compared, what could not be, and what came of it."""
    compared = [heat for heat in heats if heat.is_comparable]
    if not compared:
        return f"nothing was compared: no task ran on {FEWEST} machines of one type or more"
    machines = {machine for heat in compared for machine in heat.times_ns}
    few = len(heats) - len(compared)
    left_out = f", {few} more ran on fewer than {FEWEST} of a type" if few else ""
    outcome = f"{len(found)} odd" if found else "none is odd"
    tasks = f"{len(compared)} task{'s' if len(compared) != 1 else ''}"
    return f"{len(machines)} machines compared in {tasks}{left_out}: {outcome}"


def line(found: Sequence[OddOne]) -> str:
    """Names the odd ones; empty without any."""
    if not found:
        return ""
    named = [_sentence(odd) for odd in found[:NAMED]]
    more = [f"and {len(found) - NAMED} more"] if len(found) > NAMED else []
    return f"odd one out: {'; '.join([*named, *more])} (velodrome report --odd)"


def _sentence(odd: OddOne) -> str:
    return (
        f"{_name(odd)} is {odd.verdict}, {odd.ratio:.2f}x the median of its type "
        f"in {len(odd.deviations)} of {odd.tasks} task{'s' if odd.tasks != 1 else ''}"
    )


def _name(odd: OddOne) -> str:
    """E.g. `node7`, or `GPU-1a2b on node7`."""
    gpus = " ".join(odd.machine.gpu_uuids)
    return f"{gpus} on {odd.machine.hostname}" if gpus else odd.machine.hostname


def _text(odd: OddOne) -> dict[str, str]:
    block = odd.worst.heat.block
    return {"node": odd.machine.hostname, "is": odd.verdict, "hardware": block.hardware}


def _gpus(odd: OddOne) -> dict[str, str]:
    return {"GPU": " ".join(odd.machine.gpu_uuids) or "-"}


def _evidence(odd: OddOne) -> dict[str, str]:
    worst = odd.worst
    return {
        "odd in": f"{len(odd.deviations)} of {odd.tasks}",
        "median ratio": f"{odd.ratio:.3f}x",
        "worst in": _task(worst),
        "ratio": f"{worst.ratio:.3f}x",
        "z": f"{worst.z:+.1f}",
        "of": str(len(worst.heat.times_ns)),
    }


def _task(deviation: Deviation) -> str:
    heat = deviation.heat
    where = f"{heat.block.device_name} {heat.block.threads}t"
    return f"{heat.who.label}, {heat.course.model} b{heat.course.batch_size}, {where}"


def _worst(deviation: Deviation) -> dict[str, object]:
    heat = deviation.heat
    return {
        "worst_framework": heat.who.framework,
        "worst_variant": heat.who.variant,
        "worst_model": heat.course.model,
        "worst_batch_size": heat.course.batch_size,
        "worst_device": heat.block.device,
        "worst_threads": heat.block.threads,
        "worst_ratio": deviation.ratio,
        "worst_z": deviation.z,
        "worst_machines": len(heat.times_ns),
    }
