"""Rows of `nodes`, `utilization` and `parameters` as frozen objects with typed attributes."""

from dataclasses import dataclass

import pyarrow as pa

from velodrome.scheduler.results.row_conversion import Struct, TypedRow, make_rows


@dataclass(frozen=True, slots=True, init=False, eq=False, repr=False)
class NodeRow(TypedRow):
    """A row of `nodes`."""

    sweep_id: str
    node_id: str
    hostname: str
    node_type: str
    cpu_model: str
    sockets: int | None
    cores: int | None
    threads: int | None
    numa_nodes: int | None
    caches: str
    governor: str
    ram_bytes: int | None
    machine_ram_bytes: int | None
    machine_cpus: int | None
    kernel: str
    system: str
    architecture: str
    virtualization: str
    labels: tuple[Struct, ...]
    gpus: tuple[Struct, ...]
    instructions: str
    price_per_hour: float | None
    price_currency: str
    cuda_major: int | None
    ceilings: tuple[Struct, ...]
    ceilings_by_dtype: tuple[Struct, ...]
    python_version: str
    ray_version: str
    velodrome_version: str


@dataclass(frozen=True, slots=True, init=False, eq=False, repr=False)
class ReadingRow(TypedRow):
    """A row of `utilization`, of the columns that a chart needs."""

    task_id: str
    repeat: int
    at_ns: int
    phase: str
    cpu_percent: float | None
    gpu_percent: float | None


@dataclass(frozen=True, slots=True, init=False, eq=False, repr=False)
class ParameterRow(TypedRow):
    """The largest error of one parameter of a task, as a query of `parameters` returns it."""

    task_id: str
    name: str
    error: float | None
    allowed: float | None


def node_rows(table: pa.Table) -> list[NodeRow]:
    """Make rows of `nodes` of the columns that a table has."""
    return make_rows(NodeRow, table)


def parameter_rows(table: pa.Table) -> list[ParameterRow]:
    """Make rows of `parameters` of the columns that a table has."""
    return make_rows(ParameterRow, table)


def reading_rows(table: pa.Table) -> list[ReadingRow]:
    """Make rows of `utilization` of the columns that a table has."""
    return make_rows(ReadingRow, table)
