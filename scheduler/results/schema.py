"""The schema of the results tables: every column with its type, unit and meaning.

Times have the type UTC timestamp; times without a zone in earlier files are read as UTC. A new
column keeps the version; a changed name or meaning raises it. See `schema_conversion.RENAMED`.
Version 3 gave `dtype` another meaning: the precision of products, no longer the type of the inputs.
"""

import pyarrow as pa

from velodrome.scheduler.results.columns import (
    REAL,
    SMALL,
    TEXT,
    WHOLE,
    make_table,
)
from velodrome.scheduler.results.task_columns import TASKS

# For reads of large sweeps: a task's checks are longer than the rest of its row.
WITHOUT_CHECKS = tuple(name for name in TASKS.names if name != "checks")

SAMPLES = make_table(
    ("sweep_id", TEXT, ""),
    ("task_id", TEXT, ""),
    ("repeat", SMALL, ""),
    ("phase", TEXT, ""),  # a timed phase
    ("index", SMALL, ""),  # number within the phase
    ("calls", SMALL, ""),  # short calls that were timed together
    ("started_ns", WHOLE, "ns of the node's CLOCK_MONOTONIC"),
    ("elapsed_ns", WHOLE, "ns for all calls together"),
)

UTILIZATION = make_table(
    ("sweep_id", TEXT, ""),
    ("task_id", TEXT, ""),
    ("repeat", SMALL, ""),
    ("at_ns", WHOLE, "ns of the node's CLOCK_MONOTONIC"),
    ("phase", TEXT, ""),  # phase at this instant
    ("cpu_percent", REAL, "percent of one core"),  # of the worker's process tree
    ("rss_bytes", WHOLE, "bytes"),
    ("threads", SMALL, ""),  # of the worker's process tree
    ("context_switches", WHOLE, "since the start"),
    ("read_bytes", WHOLE, "bytes since the start"),
    ("written_bytes", WHOLE, "bytes since the start"),
    ("node_cpu_percent", REAL, "percent of all cores"),
    ("cpu_mhz", REAL, "MHz"),
    ("pressure_percent", REAL, "percent"),  # of the time, some process waited for a CPU
    ("package_energy_uj", WHOLE, "uJ of all sockets, since sampling began"),
    ("other_cpu_percent", REAL, "percent of one core, on its cores"),
    ("interrupt_percent", REAL, "percent of one core, on its cores"),
    ("other_cores_percent", REAL, "percent of one core, on other cores"),
    ("steal_percent", REAL, "percent of its cores"),
    ("memory_pressure_percent", REAL, "percent"),
    ("quota_us", WHOLE, "us, over all CPUs"),
    ("thermal_throttles", WHOLE, "times, over its cores"),
    ("swapped_in_pages", WHOLE, "pages since boot"),
    ("gpu_index", SMALL, ""),  # null if the task has no GPU
    ("gpu_uuid", TEXT, ""),
    ("gpu_percent", REAL, "percent"),  # of the time, a kernel ran
    ("gpu_memory_percent", REAL, "percent"),  # of the time, memory was read or written
    ("gpu_memory_bytes", WHOLE, "bytes"),  # used by all processes
    ("process_gpu_memory_bytes", WHOLE, "bytes"),  # of the worker's process tree
    ("power_w", REAL, "W"),
    ("energy_mj", WHOLE, "mJ since the driver's start"),
    ("temperature_c", REAL, "degrees Celsius"),
    ("sm_mhz", SMALL, "MHz"),
    ("throttle_reasons", WHOLE, "bits, as NVML has them"),  # see docs/utilization.md
    ("gpu_other_processes", SMALL, ""),  # processes of others on the GPU
    ("gpu_other_memory_bytes", WHOLE, "bytes"),  # used by processes of others
)

NODES = make_table(
    ("sweep_id", TEXT, ""),
    ("node_id", TEXT, ""),
    ("hostname", TEXT, ""),
    ("node_type", TEXT, ""),
    ("cpu_model", TEXT, ""),
    ("sockets", SMALL, ""),
    ("cores", SMALL, ""),  # physical cores
    ("threads", SMALL, ""),  # logical CPUs
    ("numa_nodes", SMALL, ""),
    ("caches", TEXT, ""),
    ("governor", TEXT, ""),
    ("ram_bytes", WHOLE, "bytes"),  # of the machine, or less if a container is limited
    ("machine_ram_bytes", WHOLE, "bytes"),
    ("machine_cpus", SMALL, ""),  # logical CPUs, including those that may not be used
    ("kernel", TEXT, ""),
    ("system", TEXT, ""),
    ("architecture", TEXT, ""),
    ("virtualization", TEXT, ""),  # empty on bare metal
    ("labels", pa.list_(pa.struct([("key", TEXT), ("value", TEXT)])), ""),  # from Ray
    (
        "gpus",
        pa.list_(
            pa.struct(
                [
                    ("index", SMALL),
                    ("name", TEXT),
                    ("uuid", TEXT),
                    ("memory_bytes", WHOLE),
                    ("driver", TEXT),
                    ("power_limit_w", REAL),
                ]
            )
        ),
        "",
    ),
    ("instructions", TEXT, ""),  # instruction sets of its CPU that bound its rates
    ("price_per_hour", REAL, "price_currency per hour"),  # as the user gave it
    ("price_currency", TEXT, ""),
    ("cuda_major", SMALL, ""),  # newest CUDA that the driver supports; 0: unknown
    (
        "ceilings",
        pa.list_(
            pa.struct([("device", TEXT), ("gemm_flops_per_s", REAL), ("copy_bytes_per_s", REAL)])
        ),
        "FLOP/s and bytes/s",
    ),
    (
        "ceilings_by_dtype",
        pa.list_(
            pa.struct(
                [
                    ("device", TEXT),
                    ("computes_in", TEXT),
                    ("gemm_flops_per_s", REAL),
                    ("copy_bytes_per_s", REAL),
                ]
            )
        ),
        "FLOP/s and bytes/s",
    ),
    ("python_version", TEXT, ""),
    ("ray_version", TEXT, ""),
    ("velodrome_version", TEXT, ""),
)

PARAMETERS = make_table(
    ("sweep_id", TEXT, ""),
    ("task_id", TEXT, ""),
    ("repeat", SMALL, ""),
    ("name", TEXT, ""),  # name of the parameter in the model
    ("shape", pa.list_(WHOLE), ""),
    ("reference_norm", REAL, ""),  # norm of its float64 gradient
    ("error", REAL, "relative"),  # norm of the difference over the reference's norm
    ("allowed", REAL, "relative"),  # tolerance of the error, by precision and parameter
)

TABLES: dict[str, pa.Schema] = {
    "tasks": TASKS,
    "samples": SAMPLES,
    "utilization": UTILIZATION,
    "nodes": NODES,
    "parameters": PARAMETERS,
}
