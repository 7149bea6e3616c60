"""The driver's cost per finished task: writing its rows, and the rate that it sustains.

The rows are those of a task of 500 samples and 100 readings. The real Store writes and flushes them
to the default folder for temporary files. The driver stores tasks one by one if they end slowly; if
they end faster, it stores all that ended during the last write together: groups of 8 and of 50
represent that. The sizes alternate, so that all have the same disk.
"""

import contextlib
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import pyarrow as pa

from velodrome.adapters.protocol import ParameterError, Timed, Verified
from velodrome.agents.measurement import Measurement, Reading, Sample, Status
from velodrome.agents.task import Task
from velodrome.scheduler.plans.expected_outcomes import TO_AGREE
from velodrome.scheduler.results import parquet_files, rows
from velodrome.scheduler.results.store import Store

PUTS = 200
SAMPLES, READINGS = 500, 100
SWEEP_ID = "stored"
WANTED_PER_S = 100.0  # 1,000 nodes with tasks of 10 s
PARAMETERS = 8
GROUP = 50
SIZES = (1, 8, GROUP)


def figures() -> dict[str, object]:
    folder = Path(tempfile.mkdtemp(prefix="velodrome-storage-"))
    try:
        return _figures(Store(folder / "results"))
    finally:
        shutil.rmtree(folder)


def measurement(number: int) -> Measurement:
    """Make a measurement as a node sends it."""
    forward, gradient = (
        Timed(phase, 1e7, 0.99e7, 1.01e7, SAMPLES // 2, 1, 10, "target", stable=True)
        for phase in ("forward", "gradient")
    )
    errors = tuple(
        ParameterError(f"layer{n}.weight", (64, 64), 1.0, 1e-6) for n in range(PARAMETERS)
    )
    return Measurement(
        Task(f"framework{number}", "default", "lenet", 64),
        0,
        1,
        Status.OK,
        "",
        "node",
        "host",
        "type",
        1.7e9,
        1.7e9 + 10,
        rerun="velodrome measure framework lenet",
        forward=forward,
        gradient=gradient,
        verified=Verified(2.3, 1e-7, 1e-6, errors, (), 0),
        parameters=errors,
        samples=tuple(
            Sample(
                "forward" if n < SAMPLES // 2 else "gradient",
                n,
                1,
                n * 10**7,
                10**7 + n * 97 % 9973,
            )
            for n in range(SAMPLES)
        ),
        readings=tuple(
            Reading(n * 10**8, "forward", 100.0 + n % 7, 2**28 + 4096 * n, 4, n * 11, n, n, 50.0)
            for n in range(READINGS)
        ),
        peak_rss_bytes=2**28,
    )


def _figures(store: Store) -> dict[str, object]:
    measurements = [measurement(number) for number in range(PUTS)]
    walls: dict[int, list[float]] = {size: [] for size in SIZES}
    cpus: dict[int, list[float]] = {size: [] for size in SIZES}
    with contextlib.ExitStack() as leases:
        for size in SIZES:
            leases.enter_context(store.hold_sweep(f"{SWEEP_ID}{size}"))
            store.put(f"{SWEEP_ID}{size}", measurement(PUTS))  # the folders
        for first in range(0, PUTS, GROUP):
            for size in SIZES:
                wall_s, cpu_s = _store(store, size, measurements[first : first + GROUP])
                walls[size].append(wall_s)
                cpus[size].append(cpu_s)
    found: dict[str, object] = {"puts": PUTS, "samples": SAMPLES, "readings": READINGS}
    for size in SIZES:
        by = "one_by_one" if size == 1 else f"in_groups_of_{size}"
        found[f"wall_ms_{by}"] = round(1e3 * statistics.median(walls[size]), 2)
        found[f"cpu_ms_{by}"] = round(1e3 * statistics.median(cpus[size]), 2)
    fastest_s = statistics.median(walls[GROUP])
    return {
        **found,
        **_stages(measurements),
        "per_s_in_groups": round(1 / fastest_s, 1),
        "per_s_by_cpu_in_groups": round(1 / statistics.median(cpus[GROUP]), 1),
        "keeps_promise": 1 / fastest_s >= WANTED_PER_S,
    }


def _store(store: Store, size: int, measurements: list[Measurement]) -> tuple[float, float]:
    """Return seconds per task, wall and CPU."""
    started_s, cpu_s = time.perf_counter(), time.process_time()
    for first in range(0, len(measurements), size):
        ended = [(each, TO_AGREE) for each in measurements[first : first + size]]
        store.put_all(f"{SWEEP_ID}{size}", ended)
    count = len(measurements)
    return (time.perf_counter() - started_s) / count, (time.process_time() - cpu_s) / count


def _stages(measurements: list[Measurement]) -> dict[str, float]:
    """Split the CPU time: rows to tables, tables to Parquet, one by one and in groups."""
    cpu_s = time.process_time()
    tables = [rows.build_tables(SWEEP_ID, each) for each in measurements]
    made_s = time.process_time()
    for table in (table for each in tables for table in each.values()):
        parquet_files.encode(table)
    encoded_s = time.process_time()
    for first in range(0, PUTS, GROUP):
        group = tables[first : first + GROUP]
        for name in group[0]:
            parquet_files.encode(pa.concat_tables([each[name] for each in group]))
    grouped_s = time.process_time()
    return {
        "rows_cpu_ms": round(1e3 * (made_s - cpu_s) / PUTS, 2),
        "parquet_cpu_ms": round(1e3 * (encoded_s - made_s) / PUTS, 2),
        f"parquet_cpu_ms_in_groups_of_{GROUP}": round(1e3 * (grouped_s - encoded_s) / PUTS, 2),
    }
