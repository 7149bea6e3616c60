"""Results with unsound files: two sweeps, and ways to spoil a file."""

import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from made_measurements import make_measurement

from velodrome.adapters.protocol import ParameterError
from velodrome.agents.measurement import Measurement, Reading, Sample
from velodrome.agents.node import Core, Node
from velodrome.scheduler.plans.placement import Placement, Plan
from velodrome.scheduler.results.columns import VERSION_KEY
from velodrome.scheduler.results.store import Store

SWEEP, OTHER = "20261124-063012-a1b2c3d4", "20261125-063012-a1b2c3d4"
TEXT = "frameworks: [torch]\nmodels: [lenet]\n"
NODES = tuple(Node(f"n{at}", f"host{at}", "CPU", (Core(0, (0,)),), 2**30) for at in range(2))
ROWS = {"tasks": 1, "samples": 5, "utilization": 3, "parameters": 1, "nodes": 1}


def measurement(number: int) -> Measurement:
    return make_measurement(
        batch_size=number + 1,
        samples=tuple(Sample("forward", i, 1, 1000 * i + number, 900 + i) for i in range(5)),
        readings=tuple(Reading(100 * i + number, "forward", 99.0, 10, 1) for i in range(3)),
        parameters=(ParameterError("w", (2, 3), 1.0, 1e-7),),
    )


def fill(results: str | Path) -> Store:
    """Write two sweeps with two files of every table each."""
    store = Store(results)
    for sweep_id in (SWEEP, OTHER):
        with store.hold_sweep(sweep_id):
            placements = (Placement(measurement(at).task, 0, "n1") for at in range(2))
            store.begin(sweep_id, TEXT, Plan(tuple(placements)))
            store.put_nodes(sweep_id, NODES)
            for number in range(2):
                store.put(sweep_id, measurement(number))
    return store


def files(results: Path, table: str, sweep_id: str = SWEEP) -> list[Path]:
    return sorted((results / table / f"sweep={sweep_id}").glob("*.parquet"))


def write_foreign_file(path: Path) -> None:
    pq.write_table(pa.table({"x": [1, 2]}), path)


def damage_page(path: Path) -> None:
    """Damage a page and leave the end of the file sound."""
    content = bytearray(path.read_bytes())
    end = len(content) - int.from_bytes(content[-8:-4], "little") - 8
    content[4:end] = bytes(end - 4)
    path.write_bytes(content)


def replace_by_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def replace_by_dangling_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def replace_by_link_loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def replace_by_unreadable_file(path: Path) -> None:
    path.unlink()
    path.symlink_to("/proc/self/mem")  # EIO at its beginning, whoever reads


def raise_version(path: Path) -> None:
    table = pq.ParquetFile(path).read()
    pq.write_table(table.replace_schema_metadata({VERSION_KEY: b"99"}), path)


def nullify_key(path: Path) -> None:
    table = pq.ParquetFile(path).read()
    key = "node_id" if "task_id" not in table.schema.names else "task_id"
    column = pa.nulls(table.num_rows, pa.string())
    pq.write_table(table.set_column(table.schema.get_field_index(key), key, column), path)


def change_sweep_id(path: Path) -> None:
    table = pq.ParquetFile(path).read()
    column = pa.array([OTHER] * table.num_rows)
    pq.write_table(table.set_column(0, "sweep_id", column), path)


def change_type(path: Path) -> None:
    table = pq.ParquetFile(path).read()
    column = pa.array(range(table.num_rows))
    at = table.schema.get_field_index("sweep_id")
    pq.write_table(table.set_column(at, "sweep_id", column), path)


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:-20]), "its end is missing"),
    "half": (lambda path: path.write_bytes(path.read_bytes()[:200]), "its end is missing"),
    "empty": (lambda path: path.write_bytes(b""), "its end is missing"),
    "text": (lambda path: path.write_text("not a Parquet file\n"), "its end is missing"),
    "foreign": (write_foreign_file, "it has no column sweep_id"),
    "damaged": (damage_page, "it is damaged"),
    "folder": (replace_by_folder, "it is a folder"),
    "pipe": (replace_by_pipe, "it is not a regular file"),
    "dangling": (replace_by_dangling_link, "it is a link to a missing target"),
    "loop": (replace_by_link_loop, "cannot be read: Too many levels of symbolic links"),
    "unreadable": (replace_by_unreadable_file, ""),
    "later": (raise_version, "its schema version is '99'"),
    "null": (nullify_key, "a row has no"),
    "elsewhere": (change_sweep_id, f"its rows are of sweep {OTHER}"),
    "typed": (change_type, "its column sweep_id is of type int64"),
}
