"""The schema of the results tables: every column with its type, unit and meaning.

Times have the type UTC timestamp; times without a zone in earlier files are read as UTC. A new
column keeps the version; a changed name or meaning raises it. See `schema_conversion.RENAMED`.
"""

import pyarrow as pa

VERSION = "2"
VERSION_KEY = b"velodrome_schema"

_TEXT = pa.string()
_WHOLE = pa.int64()
_SMALL = pa.int32()
_REAL = pa.float64()
_YES = pa.bool_()
_TIME = pa.timestamp("us", "UTC")  # whoever makes Python's values of it: see `instants`
_FIGURES = pa.list_(pa.struct([("name", _TEXT), ("value", _REAL)]))  # the unit ends the name
_CHECKS = pa.list_(
    pa.struct(
        [
            ("name", _TEXT),
            ("phase", _TEXT),
            ("outcome", _TEXT),
            ("reason", _TEXT),
            ("figures", _FIGURES),
        ]
    )
)


def _table(*columns: tuple[str, pa.DataType, str]) -> pa.Schema:
    """Build a schema from (name, type, unit); a unit is kept in the column's metadata."""
    fields = [
        pa.field(name, kind, metadata={b"unit": unit.encode()} if unit else None)
        for name, kind, unit in columns
    ]
    return pa.schema(fields, metadata={VERSION_KEY: VERSION.encode()})


def _means(phase: str) -> tuple[tuple[str, pa.DataType, str], ...]:
    """Columns of means over one timed phase: over the task's GPUs, or their sum for power."""
    return (
        (f"{phase}_cpu_percent_mean", _REAL, "percent of one core"),
        (f"{phase}_gpu_percent_mean", _REAL, "percent"),
        (f"{phase}_gpu_memory_percent_mean", _REAL, "percent"),
        (f"{phase}_gpu_power_w_mean", _REAL, "W"),
        (f"{phase}_sm_mhz_mean", _REAL, "MHz"),
    )


TASKS = _table(
    ("sweep_id", _TEXT, ""),  # sorts by the time (UTC) at which the sweep began
    ("task_id", _TEXT, ""),  # hash of all that decides the number
    ("repeat", _SMALL, ""),  # of the same task, each in a fresh process
    ("attempt", _SMALL, ""),  # above 1: the one before was lost, or something was wanting
    ("status", _TEXT, ""),  # `ok`, `unstable`, or why there is no number
    ("reason", _TEXT, ""),  # of the status, in words
    ("expected", _TEXT, ""),  # `agreed`, or one or several outcomes joined by ` or `
    ("expected_reason", _TEXT, ""),  # why it is not expected to agree
    ("unexpected", _YES, ""),  # it ended otherwise than expected
    ("log_tail", _TEXT, ""),  # end of the worker's output, if it failed
    ("rerun", _TEXT, ""),  # the command that runs this task alone
    ("framework", _TEXT, ""),  # as the sweep names it, perhaps with a version
    ("framework_version", _TEXT, ""),  # as it says of itself
    ("variant", _TEXT, ""),  # a way to run the framework
    ("model", _TEXT, ""),
    ("batch_size", _SMALL, "examples"),
    ("device", _TEXT, ""),  # `cpu` or `gpu`
    ("threads", _SMALL, ""),
    ("dtype", _TEXT, ""),  # of weights and batches
    ("node_id", _TEXT, ""),
    ("hostname", _TEXT, ""),
    ("node_type", _TEXT, ""),  # a name for its hardware: only the same compare
    ("cpu_model", _TEXT, ""),
    ("gpu_name", _TEXT, ""),
    ("gpu_count", _SMALL, ""),
    ("gpu_model", _TEXT, ""),  # as asked for
    ("gpu_uuids", pa.list_(_TEXT), ""),  # those it ran on
    ("started_at", _TIME, "UTC"),  # by the node's clock
    ("finished_at", _TIME, "UTC"),
    ("waited_ns", _WHOLE, "ns"),  # for cores and GPUs that others had, which is no cost of its own
    ("provision_ns", _WHOLE, "ns"),  # until its environment stood
    ("import_ns", _WHOLE, "ns"),  # of the framework
    ("build_ns", _WHOLE, "ns"),  # of the model
    ("transfer_ns", _WHOLE, "ns"),  # weights and batch to the device
    ("first_call_ns", _WHOLE, "ns"),  # compilation included
    ("forward_median_ns", _REAL, "ns per call"),  # one batch through the network, loss included
    (
        "forward_low_ns",
        _REAL,
        "ns per call",
    ),  # by these samples alone: no claim on another process
    ("forward_high_ns", _REAL, "ns per call"),
    ("forward_samples", _WHOLE, ""),  # that were timed
    ("forward_stop_reason", _TEXT, ""),
    ("forward_stable", _YES, ""),  # it settled within the target
    ("gradient_median_ns", _REAL, "ns per call"),  # forward and backward, all gradients there
    ("gradient_low_ns", _REAL, "ns per call"),  # null where the samples claim none
    ("gradient_high_ns", _REAL, "ns per call"),
    ("gradient_samples", _WHOLE, ""),
    ("stop_reason", _TEXT, ""),  # of gradient; of forward where no gradient is timed
    ("stable", _YES, ""),  # gradient settled within the target; forward where there is no gradient
    ("warm_up_converged", _YES, ""),  # every warm-up ended with a steady speed
    ("forward_instability", _TEXT, ""),  # why not: `wide`, `few`, `kinds`, `slow` or `drift`
    ("gradient_instability", _TEXT, ""),
    ("forward_drift", _REAL, "share of the median"),  # change of speed while timed, beyond chance
    ("gradient_drift", _REAL, "share of the median"),
    ("forward_p95_ns", _REAL, "ns per call"),  # of samples; null where too few reach so far
    ("forward_p99_ns", _REAL, "ns per call"),
    ("gradient_p95_ns", _REAL, "ns per call"),
    ("gradient_p99_ns", _REAL, "ns per call"),
    ("loss_error", _REAL, "relative"),  # against the reference
    ("gradient_error", _REAL, "relative"),  # the largest of any parameter
    ("verified", _YES, ""),  # loss and gradients agree with the float64 reference
    ("proved", pa.list_(_TEXT), ""),  # the checks that passed in every timed phase
    ("unproved", pa.list_(_TEXT), ""),  # the others: `name phase: outcome: reason`
    ("checks", _CHECKS, ""),  # each check of each timed phase; null: this version kept none
    ("parameters", _WHOLE, "values"),  # of the model
    ("model_hash", _TEXT, ""),  # of its layers, input and loss: only the same compare
    ("forward_flops", _REAL, "FLOP per call"),  # what the model asks for, by its own data
    ("gradient_flops", _REAL, "FLOP per call"),
    ("ceiling_flops_per_s", _REAL, "FLOP/s"),
    ("ceiling_source", _TEXT, ""),  # who reached it; another node or sweep is named
    ("gradient_efficiency", _REAL, "share of the ceiling"),
    ("cpu_percent_mean", _REAL, "percent of one core"),
    ("peak_rss_bytes", _WHOLE, "bytes"),  # of the worker's tree
    ("gpu_percent_mean", _REAL, "percent"),
    ("peak_gpu_memory_bytes", _WHOLE, "bytes"),  # by the framework's count, else the driver's
    ("energy_j", _REAL, "J"),  # of the timed phases: its GPUs', else the sockets'
    ("energy_source", _TEXT, ""),  # `measured`, `estimated` or `unavailable`
    ("energy_reason", _TEXT, ""),  # why it is not measured
    ("energy_per_gradient_j", _REAL, "J per call"),  # by the same meters
    ("energy_deviation_percent", _REAL, "percent"),  # of integrated power above the counter
    ("peak_gpu_process_memory_bytes", _WHOLE, "bytes"),  # its own processes', by the driver
    *_means("forward"),
    *_means("gradient"),
    ("interference_free", _YES, ""),  # nothing else disturbed it
    ("interference", _TEXT, ""),  # what did
    ("minor_interference", _TEXT, ""),  # what else there was, below the bounds
    ("other_cpu_percent_mean", _REAL, "percent of one core, on its cores"),
    ("other_cores_percent_mean", _REAL, "percent of one core, on other cores"),
    ("steal_percent_mean", _REAL, "percent of its cores"),
    ("sampling_cpu_s", _REAL, "s of CPU time"),  # of the sampler, its start included
    ("canary_model", _TEXT, ""),  # and its framework with version: only the same compare
    ("canary_before_ns", _REAL, "ns per call"),
    ("canary_after_ns", _REAL, "ns per call"),
    ("exclusive", _YES, ""),  # nothing else of ours ran on the node
    ("kernels", pa.list_(_TEXT), ""),  # of linear algebra, that ran: `openblas 0.3.13 SKYLAKEX`
    ("notes", pa.list_(_TEXT), ""),  # of the adapter; `by hand: ` tells a missing operation
    ("environment_hash", _TEXT, ""),  # of the lock that the framework was installed by
    ("seed", _WHOLE, ""),  # of weights and batches
    ("velodrome_version", _TEXT, ""),
)

# For whoever reads the rows of large sweeps: a task's checks are longer than all else of its row.
WITHOUT_CHECKS = tuple(name for name in TASKS.names if name != "checks")

SAMPLES = _table(
    ("sweep_id", _TEXT, ""),
    ("task_id", _TEXT, ""),
    ("repeat", _SMALL, ""),
    ("phase", _TEXT, ""),  # `forward` or `gradient`
    ("index", _SMALL, ""),  # within the phase
    ("calls", _SMALL, ""),  # that were timed together, being short
    ("started_ns", _WHOLE, "ns of the node's CLOCK_MONOTONIC"),
    ("elapsed_ns", _WHOLE, "ns for all calls together"),
)

UTILIZATION = _table(
    ("sweep_id", _TEXT, ""),
    ("task_id", _TEXT, ""),
    ("repeat", _SMALL, ""),
    ("at_ns", _WHOLE, "ns of the node's CLOCK_MONOTONIC"),
    ("phase", _TEXT, ""),  # that the instant falls into
    ("cpu_percent", _REAL, "percent of one core"),  # of the worker's tree
    ("rss_bytes", _WHOLE, "bytes"),
    ("threads", _SMALL, ""),  # of the worker's tree
    ("context_switches", _WHOLE, "since the start"),
    ("read_bytes", _WHOLE, "bytes since the start"),
    ("written_bytes", _WHOLE, "bytes since the start"),
    ("node_cpu_percent", _REAL, "percent of all cores"),
    ("cpu_mhz", _REAL, "MHz"),
    ("pressure_percent", _REAL, "percent"),  # of time that some process waited for a CPU
    ("package_energy_uj", _WHOLE, "uJ of all sockets, since sampling began"),
    ("other_cpu_percent", _REAL, "percent of one core, on its cores"),
    ("interrupt_percent", _REAL, "percent of one core, on its cores"),
    ("other_cores_percent", _REAL, "percent of one core, on other cores"),
    ("steal_percent", _REAL, "percent of its cores"),
    ("memory_pressure_percent", _REAL, "percent"),
    ("quota_us", _WHOLE, "us, over all CPUs"),
    ("thermal_throttles", _WHOLE, "times, over its cores"),
    ("swapped_in_pages", _WHOLE, "pages since boot"),
    ("gpu_index", _SMALL, ""),  # null where the task has no GPU
    ("gpu_uuid", _TEXT, ""),
    ("gpu_percent", _REAL, "percent"),  # of the time, some kernel ran
    ("gpu_memory_percent", _REAL, "percent"),  # of the time, its memory was read or written
    ("gpu_memory_bytes", _WHOLE, "bytes"),  # taken, by anybody
    ("process_gpu_memory_bytes", _WHOLE, "bytes"),  # of the worker's tree
    ("power_w", _REAL, "W"),
    ("energy_mj", _WHOLE, "mJ since the driver's start"),
    ("temperature_c", _REAL, "degrees Celsius"),
    ("sm_mhz", _SMALL, "MHz"),
    ("throttle_reasons", _WHOLE, "bits, as NVML has them"),  # see docs/utilization.md
    ("gpu_other_processes", _SMALL, ""),  # of others, that compute there
    ("gpu_other_memory_bytes", _WHOLE, "bytes"),  # that those hold
)

NODES = _table(
    ("sweep_id", _TEXT, ""),
    ("node_id", _TEXT, ""),
    ("hostname", _TEXT, ""),
    ("node_type", _TEXT, ""),
    ("cpu_model", _TEXT, ""),
    ("sockets", _SMALL, ""),
    ("cores", _SMALL, ""),  # physical ones
    ("threads", _SMALL, ""),  # logical CPUs
    ("numa_nodes", _SMALL, ""),
    ("caches", _TEXT, ""),
    ("governor", _TEXT, ""),
    ("ram_bytes", _WHOLE, "bytes"),  # the machine's, or less where a container may use less
    ("machine_ram_bytes", _WHOLE, "bytes"),
    ("machine_cpus", _SMALL, ""),  # logical ones, also those that may not be used
    ("kernel", _TEXT, ""),
    ("system", _TEXT, ""),
    ("architecture", _TEXT, ""),
    ("virtualization", _TEXT, ""),  # empty on bare metal
    ("labels", pa.list_(pa.struct([("key", _TEXT), ("value", _TEXT)])), ""),  # as Ray has them
    (
        "gpus",
        pa.list_(
            pa.struct(
                [
                    ("index", _SMALL),
                    ("name", _TEXT),
                    ("uuid", _TEXT),
                    ("memory_bytes", _WHOLE),
                    ("driver", _TEXT),
                    ("power_limit_w", _REAL),
                ]
            )
        ),
        "",
    ),
    ("cuda_major", _SMALL, ""),  # the newest CUDA that the driver runs; 0: it does not say
    (
        "ceilings",
        pa.list_(
            pa.struct([("device", _TEXT), ("gemm_flops_per_s", _REAL), ("copy_bytes_per_s", _REAL)])
        ),
        "FLOP/s and bytes/s",
    ),
    ("python_version", _TEXT, ""),
    ("ray_version", _TEXT, ""),
    ("velodrome_version", _TEXT, ""),
)

PARAMETERS = _table(
    ("sweep_id", _TEXT, ""),
    ("task_id", _TEXT, ""),
    ("repeat", _SMALL, ""),
    ("name", _TEXT, ""),  # of the parameter, in the model
    ("shape", pa.list_(_WHOLE), ""),
    ("reference_norm", _REAL, ""),  # of its float64 gradient
    ("error", _REAL, "relative"),  # norm of the difference over the reference's norm
)

TABLES: dict[str, pa.Schema] = {
    "tasks": TASKS,
    "samples": SAMPLES,
    "utilization": UTILIZATION,
    "nodes": NODES,
    "parameters": PARAMETERS,
}
