"""Conversion of a measurement to a row of `tasks`. Pure."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from statistics import fmean
from typing import Any

from velodrome.adapters.models import MODELS, products, shapes
from velodrome.adapters.models.code_kinds import is_code
from velodrome.adapters.protocol import TIMED_PHASES, USUAL_PHASES
from velodrome.agents.measurement import Measurement, PhaseMeans, Status
from velodrome.scheduler.plans.expected_outcomes import TO_AGREE, ExpectedOutcome
from velodrome.scheduler.results.loading_columns import count_loaded_bytes
from velodrome.scheduler.results.model_hash import model_hash
from velodrome.scheduler.results.phase_columns import name_energy
from velodrome.scheduler.results.proof_columns import proof_columns
from velodrome.scheduler.results.schema import TABLES
from velodrome.scheduler.results.time_columns import add_first_step, list_times

Row = dict[str, object]


def task_row(sweep_id: str, measurement: Measurement, expected: ExpectedOutcome = TO_AGREE) -> Row:
    """Build the columns of TASKS in their order."""
    measurement = _without_disproved(measurement)
    found = {
        "sweep_id": sweep_id,
        **_list_identity(measurement),
        **_list_outcome(measurement),
        "expected": expected.text,
        "expected_reason": expected.reason or None,
        "unexpected": not expected.is_met_by(measurement.status),
        **_list_place(measurement),
        **_list_costs(measurement),
        **list_times(measurement),
        **_list_proof(measurement),
        **_compute_work(measurement),
        **_list_peak_and_price(measurement),
        **_average_resources(measurement),
        **_list_canaries(measurement),
    }
    return {name: nan_to_none(found[name]) for name in TABLES["tasks"].names}


def _without_disproved(measurement: Measurement) -> Measurement:
    """Drop the times of a task that disagreed: a check may fail after the timing.

    The timings stay in its checks' figures and in `samples`.
    """
    if measurement.status is not Status.DISAGREED:
        return measurement
    no_times: dict[str, Any] = dict.fromkeys(TIMED_PHASES)
    return replace(measurement, **no_times, verified=None, energies=())


def nan_to_none(value: object) -> object:
    """Map NaN to None."""
    return None if isinstance(value, float) and math.isnan(value) else value


@cache
def velodrome_version() -> str:
    return version("velodrome")


def _list_identity(measurement: Measurement) -> Row:
    task = measurement.task
    return {
        "task_id": task.key,
        "repeat": measurement.repeat,
        "attempt": measurement.attempt,
        "framework": task.framework,
        "framework_version": measurement.framework_version or None,
        "variant": task.variant,
        "model": task.model,
        "batch_size": task.batch_size,
        "batch_size_rule": task.batch_size_rule or None,
        "device": task.device,
        "processes": task.processes,
        "nodes": task.nodes,
        "threads": task.threads,
        "dtype": task.dtype,
        "phases": list(task.phases),
        "optimizer": task.optimizer or None,
        "gpu_count": task.gpu_count,
        "gpu_model": task.gpu_model or None,
        "exclusive": task.exclusive,
        "seed": task.seed,
        "environment_hash": measurement.environment_hash or task.lock_hash or None,
        "velodrome_version": velodrome_version(),
    }


def _list_outcome(measurement: Measurement) -> Row:
    return {
        "status": measurement.status.value,
        "reason": measurement.reason,
        "log_tail": measurement.log_tail,
        "rerun": measurement.rerun,
        "interference_free": measurement.interference_free,
        "interference": measurement.interference,
        "minor_interference": measurement.minor_interference,
        "kernels": list(measurement.kernels),
        "notes": list(measurement.notes),
    }


def _list_place(measurement: Measurement) -> Row:
    return {
        "node_id": measurement.node_id or None,
        "hostname": measurement.hostname or None,
        "node_type": measurement.node_type or None,
        "cpu_model": measurement.cpu_model or None,
        "gpu_name": measurement.gpu_name or None,
        "gpu_uuids": list(measurement.gpu_uuids),
        "gpu_compute_capability": measurement.gpu_compute_capability or None,
        "gpu_numa_nodes": _list_known(measurement.gpu_numa_nodes),
        "partner_node_ids": list(measurement.partner_node_ids),
        "partner_hostnames": list(measurement.partner_hostnames),
        "started_at": _to_utc(measurement.started_at),
        "finished_at": _to_utc(measurement.finished_at),
    }


def _list_known(values: Sequence[int | None]) -> list[int | None] | None:
    """Null if no value is known."""
    return list(values) if any(value is not None for value in values) else None


def _list_costs(measurement: Measurement) -> Row:
    return {
        "waited_ns": measurement.waited_ns,
        "provision_ns": measurement.provision_ns,
        "import_ns": measurement.import_ns,
        "build_ns": measurement.build_ns,
        "transfer_ns": measurement.transfer_ns,
        "first_call_ns": measurement.first_call_ns,
        "time_to_first_step_ns": add_first_step(
            measurement.import_ns, measurement.build_ns, measurement.first_call_ns
        ),
    }


def _list_proof(measurement: Measurement) -> Row:
    return {
        "verified": measurement.verified is not None,
        "verified_against": _name_reference(measurement),
        "loss_error": measurement.loss_error,
        "gradient_error": measurement.gradient_error,
        **proof_columns(measurement),
    }


def _name_reference(measurement: Measurement) -> str | None:
    """Return what a verified result was compared with: `reference`, or code with `itself`."""
    if measurement.verified is None:
        return None
    return "itself" if is_code(MODELS.get(measurement.task.model)) else "reference"


def _compute_work(measurement: Measurement) -> Row:
    """Return the work that the model asks for; nothing for a model outside the zoo.

    Without a batch size, which `auto` may not have found, a call has no work. The parameters of
    code are known by its proof, its operations if its file states them.
    """
    task = measurement.task
    work = _compute_model_work(task.model, task.batch_size)
    if not is_code(MODELS.get(task.model)):
        return work
    sizes = [math.prod(entry.shape) for entry in measurement.parameters]
    stated = {name: value or None for name, value in work.items() if name.endswith("_flops")}
    return {**work, **stated, "parameters": sum(sizes) or None}


@cache
def _compute_model_work(name: str, batch_size: int) -> Row:
    model = MODELS.get(name)
    timed = model if batch_size else None
    forward = products.count_forward_flops(timed, batch_size) if timed else None
    gradient = products.count_gradient_flops(timed, batch_size) if timed else None
    return {
        "parameters": shapes.count_parameters(model) if model else None,
        "model_hash": model_hash(model) if model else None,
        "forward_flops": forward,
        "gradient_flops": gradient,
        "inference_flops": forward,
        "step_flops": gradient,
        "loaded_bytes": count_loaded_bytes(timed, batch_size) if timed else None,
        "tokens": products.count_units(timed, batch_size).tokens if timed else None,
        "ceiling_flops_per_s": None,  # this and the next two: velodrome.scheduler.results.ceilings
        "ceiling_source": None,
        "gradient_efficiency": None,
    }


def _list_peak_and_price(measurement: Measurement) -> Row:
    price = measurement.price
    return {
        "vendor_peak_flops_per_s": measurement.vendor_peak_flops_per_s,
        "vendor_peak_source": measurement.vendor_peak_source or None,
        "vendor_peak_reason": measurement.vendor_peak_reason or None,
        "node_price_per_hour": price.node_per_hour if price else None,
        "task_price_per_hour": price.task_per_hour if price else None,
        "price_currency": (price.currency or None) if price else None,
    }


def _average_resources(measurement: Measurement) -> Row:
    """Compute means over the readings within timed phases."""
    timed = [reading for reading in measurement.readings if reading.phase in TIMED_PHASES]
    gpu_percents = [gpu.percent for reading in timed for gpu in reading.gpus]
    return {
        "cpu_percent_mean": _average(reading.cpu_percent for reading in timed),
        "peak_rss_bytes": measurement.peak_rss_bytes,
        "gpu_percent_mean": _average(percent for percent in gpu_percents if percent is not None),
        "peak_gpu_memory_bytes": measurement.peak_gpu_memory_bytes,
        "energy_j": measurement.energy_j,
        "energy_source": measurement.energy_source,
        "other_cpu_percent_mean": measurement.other_cpu_percent_mean,
        "other_cores_percent_mean": measurement.other_cores_percent_mean,
        "steal_percent_mean": measurement.steal_percent_mean,
        "sampling_cpu_s": measurement.sampling_cpu_s,
        "energy_reason": measurement.energy_reason or None,
        **{name_energy(phase): measurement.energy_per_call_j(phase) for phase in TIMED_PHASES},
        "energy_deviation_percent": measurement.energy_deviation_percent,
        "peak_gpu_process_memory_bytes": measurement.peak_gpu_process_memory_bytes,
        **_average_phase(measurement),
        **_list_partner_means(measurement),
    }


def _average_phase(measurement: Measurement) -> Row:
    by_phase = {means.phase: means for means in measurement.means}
    return {
        f"{phase}_{name}_mean": value
        for phase in USUAL_PHASES  # others have their readings in `utilization`
        for name, value in vars(by_phase.get(phase, PhaseMeans(phase))).items()
        if name != "phase"
    }


def _list_partner_means(measurement: Measurement) -> Row:
    return {
        f"partner_{phase}_{name}_means": [
            next((getattr(each, name) for each in means if each.phase == phase), None)
            for means in measurement.partner_means
        ]
        for phase in USUAL_PHASES
        for name in ("cpu_percent", "gpu_percent")
    }


def _list_canaries(measurement: Measurement) -> Row:
    return {
        "canary_model": measurement.canary_model or None,
        "canary_before_ns": measurement.canary_before_ns,
        "canary_after_ns": measurement.canary_after_ns,
    }


def _average(values: Iterable[float]) -> float | None:
    found = list(values)
    return fmean(found) if found else None


def _to_utc(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
