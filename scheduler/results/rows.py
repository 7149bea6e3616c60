"""Conversion of measurements and nodes to rows of the results tables. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, repeat
from operator import attrgetter
from typing import Any

import pyarrow as pa

from velodrome.agents.measurement import GpuReading, Measurement
from velodrome.agents.node import Core, Gpu, Node
from velodrome.agents.node_types import Hardware, TypedNode, sort_gpus
from velodrome.agents.safe_text import escape_undecodable
from velodrome.scheduler.plans.expected_outcomes import TO_AGREE, ExpectedOutcome
from velodrome.scheduler.results.schema import TABLES
from velodrome.scheduler.results.task_row import nan_to_none, task_row, velodrome_version

Row = dict[str, object]

NODE_TYPE_COLUMNS = (  # columns of `nodes`
    "node_type",
    "node_id",
    "cpu_model",
    "cores",
    "threads",
    "gpus",
    "ram_bytes",
    "machine_ram_bytes",
    "machine_cpus",
)
# Columns of `nodes` that a node has by these very names.
_AS_IT_IS = ("node_id", "hostname", "cpu_model", "ram_bytes", "system", "architecture", "kernel")


def build_tables(
    sweep_id: str, measurement: Measurement, expected: ExpectedOutcome = TO_AGREE
) -> dict[str, pa.Table]:
    """Build every table that a measurement has rows for, by name; `tasks` is always there."""
    return build_group_tables(sweep_id, [(measurement, expected)])


def build_group_tables(
    sweep_id: str, ended: Sequence[tuple[Measurement, ExpectedOutcome]]
) -> dict[str, pa.Table]:
    """Build the tables of several measurements, in their order."""
    measurements = [measurement for measurement, _ in ended]
    rows: dict[str, Iterable[Row]] = {
        "tasks": [task_row(sweep_id, *entry) for entry in ended],
        "utilization": chain(*(utilization_rows(sweep_id, one) for one in measurements)),
        "parameters": chain(*(parameter_rows(sweep_id, one) for one in measurements)),
    }
    found = {name: to_table(name, rows_of) for name, rows_of in rows.items()}
    found["samples"] = samples_table(sweep_id, measurements)
    return {name: table for name, table in found.items() if table.num_rows}


def to_table(name: str, rows: Iterable[Mapping[str, object]]) -> pa.Table:
    """Build a table. Unknown keys are dropped; missing columns are null."""
    listed = list(rows)
    try:
        return pa.Table.from_pylist(listed, schema=TABLES[name])
    except UnicodeEncodeError:  # a path of other bytes, in a reason or on a command line
        return pa.Table.from_pylist(_make_readable(listed), schema=TABLES[name])


def _make_readable(value: Any) -> Any:
    if isinstance(value, str):
        return escape_undecodable(value)
    if isinstance(value, Mapping):
        return {key: _make_readable(entry) for key, entry in value.items()}
    return [_make_readable(entry) for entry in value] if isinstance(value, (list, tuple)) else value


def samples_table(sweep_id: str, measurements: Sequence[Measurement]) -> pa.Table:
    """Build the samples column by column: a dict per sample would cost most of the time."""
    samples = [sample for one in measurements for sample in one.samples]
    counts = [(one, len(one.samples)) for one in measurements]
    columns: dict[str, list[Any]] = {
        "sweep_id": [sweep_id] * len(samples),
        "task_id": [*chain(*(repeat(one.task.key, count) for one, count in counts))],
        "repeat": [*chain(*(repeat(one.repeat, count) for one, count in counts))],
    }
    for name in ("phase", "index", "calls", "started_ns", "elapsed_ns"):
        columns[name] = list(map(attrgetter(name), samples))
    schema = TABLES["samples"]
    arrays = [pa.array(columns[field.name], field.type) for field in schema]
    return pa.Table.from_arrays(arrays, schema=schema)


def utilization_rows(sweep_id: str, measurement: Measurement) -> list[Row]:
    """Build a row per reading and GPU; GPU columns are empty without a GPU."""
    key = _build_key(sweep_id, measurement)
    return [
        {**key, **vars(reading), **_build_gpu(gpu)}
        for reading in measurement.readings
        for gpu in (reading.gpus or (None,))
    ]


def parameter_rows(sweep_id: str, measurement: Measurement) -> list[Row]:
    verified = measurement.verified.parameters if measurement.verified else ()
    key = _build_key(sweep_id, measurement)
    return [
        {
            **key,
            "name": entry.name,
            "shape": list(entry.shape),
            "reference_norm": entry.reference_norm,
            "error": nan_to_none(entry.error),
            "allowed": entry.allowed or None,  # 0: not sent
        }
        for entry in measurement.parameters or verified
    ]


def node_row(sweep_id: str, node: Node) -> Row:
    return {
        **vars(node),
        "sweep_id": sweep_id,
        "node_type": node.node_type,
        "cores": node.physical,
        "threads": node.logical,
        "labels": [{"key": key, "value": value} for key, value in node.labels],
        "gpus": [vars(gpu) for gpu in node.gpus],
        "ceilings": None,
        "ceilings_by_dtype": None,
        "velodrome_version": node.velodrome_version or velodrome_version(),
    }


def read_node_type(row: Mapping[str, Any]) -> TypedNode:
    """Read the node type from the columns NODE_TYPE_COLUMNS of a row of `nodes`."""
    names, sizes = sort_gpus((gpu["name"], gpu["memory_bytes"]) for gpu in row["gpus"] or ())
    hardware = Hardware(
        " ".join((row["cpu_model"] or "").split()),
        row["cores"],
        row["threads"],
        names,
        row["ram_bytes"] or 0,
        row["machine_ram_bytes"] or 0,
        row["machine_cpus"] or 0,
        sizes,
    )
    return TypedNode(row["node_type"] or "", row["node_id"], hardware)


def read_node(row: Mapping[str, Any]) -> Node:
    """Rebuild a node from its row, with what decides which tasks fit; SMT pairs are not kept."""
    cores, threads = row["cores"], row["threads"]
    values = {name: row[name] for name in _AS_IT_IS}
    return Node(
        **values,
        cores=tuple(Core(number, tuple(range(number, threads, cores))) for number in range(cores)),
        gpus=tuple(Gpu(**gpu) for gpu in row["gpus"]),
        labels=tuple((label["key"], label["value"]) for label in row["labels"]),
        machine_ram_bytes=row["machine_ram_bytes"] or 0,
        machine_cpus=row["machine_cpus"] or 0,
        cuda_major=row["cuda_major"] or 0,
        instructions=row["instructions"] or "",
        price_per_hour=row["price_per_hour"],
        price_currency=row["price_currency"] or "",
        type_name=row["node_type"] or "",
    )


def _build_key(sweep_id: str, measurement: Measurement) -> Row:
    return {"sweep_id": sweep_id, "task_id": measurement.task.key, "repeat": measurement.repeat}


def _build_gpu(gpu: GpuReading | None) -> Row:
    if gpu is None:
        return {}
    return {
        "gpu_index": gpu.index,
        "gpu_uuid": gpu.uuid,
        "gpu_percent": gpu.percent,
        "gpu_memory_percent": gpu.memory_percent,
        "gpu_memory_bytes": gpu.memory_bytes,
        "process_gpu_memory_bytes": gpu.process_memory_bytes,
        "power_w": gpu.power_w,
        "energy_mj": gpu.energy_mj,
        "temperature_c": gpu.temperature_c,
        "sm_mhz": gpu.sm_mhz,
        "throttle_reasons": gpu.throttle_reasons,
        "gpu_other_processes": None if gpu.other_processes is None else len(gpu.other_processes),
        "gpu_other_memory_bytes": _sum_other_bytes(gpu),
    }


def _sum_other_bytes(gpu: GpuReading) -> int | None:
    """Sum the memory of other processes; None if one of them is unknown."""
    sizes = [process.memory_bytes for process in gpu.other_processes or ()]
    known_sizes = [size for size in sizes if size is not None]
    return (
        sum(known_sizes)
        if gpu.other_processes is not None and len(known_sizes) == len(sizes)
        else None
    )
