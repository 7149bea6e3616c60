"""The schema of the results tables: every column with its type, unit and meaning.

Times have the type UTC timestamp; times without a zone in earlier files are read as UTC. A new
column keeps the version; a changed name or meaning raises it. See `schema_conversion.RENAMED`.
Version 3 gave `dtype` another meaning: the precision of products, no longer the type of the inputs.
"""

import pyarrow as pa

from velodrome.scheduler.results.phase_columns import Column, list_means, list_timing

VERSION = "3"
VERSION_KEY = b"velodrome_schema"

_TEXT = pa.string()
_WHOLE = pa.int64()
_SMALL = pa.int32()
_REAL = pa.float64()
_YES = pa.bool_()
_TIME = pa.timestamp("us", "UTC")  # see `schema_conversion.with_utc_offsets`
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


def _table(*columns: Column) -> pa.Schema:
    """Build a schema from (name, type, unit); a unit is kept in the column's metadata."""
    fields = [
        pa.field(name, kind, metadata={b"unit": unit.encode()} if unit else None)
        for name, kind, unit in columns
    ]
    return pa.schema(fields, metadata={VERSION_KEY: VERSION.encode()})


TASKS = _table(
    ("sweep_id", _TEXT, ""),  # sorts by the sweep's start (UTC)
    ("task_id", _TEXT, ""),  # hash of everything that decides the result
    ("repeat", _SMALL, ""),  # number of the repeat; each runs in a fresh process
    ("attempt", _SMALL, ""),  # above 1: the last was lost, or a node or environment was missing
    ("status", _TEXT, ""),  # `ok`, `unstable`, or why there is no time
    ("reason", _TEXT, ""),  # explanation of the status
    ("expected", _TEXT, ""),  # `agreed`, or outcomes joined by ` or `
    ("expected_reason", _TEXT, ""),  # why another outcome than `agreed` is expected
    ("unexpected", _YES, ""),  # the outcome differs from the expected one
    ("log_tail", _TEXT, ""),  # end of the worker's output after a failure
    ("rerun", _TEXT, ""),  # command that runs this task alone
    ("framework", _TEXT, ""),  # as in the sweep file, with a version if given there
    ("framework_version", _TEXT, ""),  # as the framework reports it
    ("variant", _TEXT, ""),  # way to run the framework, such as `eager`
    ("model", _TEXT, ""),
    ("batch_size", _SMALL, "examples"),  # 0: `auto` found none
    ("batch_size_rule", _TEXT, ""),  # `auto`: the largest that fits its node; null: as given
    ("device", _TEXT, ""),  # `cpu` or `gpu`
    ("threads", _SMALL, ""),
    ("dtype", _TEXT, ""),  # precision: `float32`, `tf32`, `bfloat16` or `float16`
    ("phases", pa.list_(_TEXT), ""),  # timed phases, as asked for; null: forward and gradient
    ("optimizer", _TEXT, ""),  # of update and step: `sgd` or `adamw`; null without these
    ("node_id", _TEXT, ""),
    ("hostname", _TEXT, ""),
    ("node_type", _TEXT, ""),  # name of its hardware; only equal types are comparable
    ("cpu_model", _TEXT, ""),
    ("gpu_name", _TEXT, ""),
    ("gpu_count", _SMALL, ""),
    ("gpu_model", _TEXT, ""),  # as requested
    ("gpu_uuids", pa.list_(_TEXT), ""),  # GPUs that it used
    ("started_at", _TIME, "UTC"),  # by the node's clock
    ("finished_at", _TIME, "UTC"),
    ("waited_ns", _WHOLE, "ns"),  # for busy cores and GPUs; not a cost of the task
    ("provision_ns", _WHOLE, "ns"),  # to install its environment
    ("import_ns", _WHOLE, "ns"),  # to import the framework
    ("build_ns", _WHOLE, "ns"),  # to build the model
    ("transfer_ns", _WHOLE, "ns"),  # to copy weights and batch to the device
    ("first_call_ns", _WHOLE, "ns"),  # of all its phases; includes compilation
    ("time_to_first_step_ns", _WHOLE, "ns"),  # import, build and first calls
    ("forward_median_ns", _REAL, "ns per call"),  # forward pass of one batch, including the loss
    ("forward_low_ns", _REAL, "ns per call"),  # from this process's samples alone
    ("forward_high_ns", _REAL, "ns per call"),
    ("forward_samples", _WHOLE, ""),  # number of timed samples
    ("forward_stop_reason", _TEXT, ""),
    ("forward_stable", _YES, ""),  # interval is within the target
    ("gradient_median_ns", _REAL, "ns per call"),  # forward and backward pass, all gradients
    ("gradient_low_ns", _REAL, "ns per call"),  # null if the samples give no interval
    ("gradient_high_ns", _REAL, "ns per call"),
    ("gradient_samples", _WHOLE, ""),
    ("stop_reason", _TEXT, ""),  # of gradient, else step, update, inference, forward
    ("stable", _YES, ""),  # of the same phase
    ("warm_up_converged", _YES, ""),  # every warm-up ended with a steady speed
    ("forward_instability", _TEXT, ""),  # `wide`, `few`, `kinds`, `slow` or `drift`; null if stable
    ("gradient_instability", _TEXT, ""),
    ("forward_drift", _REAL, "share of the median"),  # significant change of speed in the phase
    ("gradient_drift", _REAL, "share of the median"),  # significant change of speed in the phase
    ("forward_p95_ns", _REAL, "ns per call"),  # of samples; null if there are too few
    ("forward_p99_ns", _REAL, "ns per call"),
    ("gradient_p95_ns", _REAL, "ns per call"),
    ("gradient_p99_ns", _REAL, "ns per call"),
    *list_timing("inference"),  # forward without the loss, in evaluation mode
    *list_timing("update"),  # the optimizer's step
    *list_timing("step"),  # gradient and update as one call
    *list_timing("load"),  # one batch of a data set to the device, nothing read ahead
    *list_timing("prefetched_load"),  # the next batch, back to back, from a loader that reads ahead
    *list_timing("fed_gradient"),  # the gradient of such batches
    ("hidden_load_share", _REAL, "share of a load"),  # 1 - (fed_gradient - gradient) / load
    ("loss_error", _REAL, "relative"),  # against the reference
    ("gradient_error", _REAL, "relative"),  # largest over all parameters
    ("verified", _YES, ""),  # loss and gradients agree with the float64 reference
    ("verified_against", _TEXT, ""),  # `reference`; `itself`: the user's own code in float64
    ("proved", pa.list_(_TEXT), ""),  # checks that passed in every timed phase
    ("unproved", pa.list_(_TEXT), ""),  # other checks: `name phase: outcome: reason`
    ("checks", _CHECKS, ""),  # each check of each timed phase; null: version without checks
    ("parameters", _WHOLE, "values"),  # number of values in the model
    ("model_hash", _TEXT, ""),  # of layers, input and loss; only equal models are comparable
    ("forward_flops", _REAL, "FLOP per call"),  # computed from the model's definition
    ("gradient_flops", _REAL, "FLOP per call"),
    ("inference_flops", _REAL, "FLOP per call"),  # as of forward
    ("step_flops", _REAL, "FLOP per call"),  # as of gradient: an update has no products
    ("loaded_bytes", _WHOLE, "bytes per call"),  # of a loaded batch's inputs, decoded
    ("tokens", _REAL, "tokens per call"),  # true ones of a batch; null: its input is no sequence
    ("ceiling_flops_per_s", _REAL, "FLOP/s"),
    ("ceiling_source", _TEXT, ""),  # who reached it, with node and sweep if others
    ("gradient_efficiency", _REAL, "share of the ceiling"),
    ("vendor_peak_flops_per_s", _REAL, "FLOP/s"),  # dense, of its GPUs or cores, in its precision
    ("vendor_peak_source", _TEXT, ""),
    ("vendor_peak_reason", _TEXT, ""),  # why it is unknown
    ("node_price_per_hour", _REAL, "per hour"),  # of the whole node, as the user gave it
    ("task_price_per_hour", _REAL, "per hour"),  # of the task's share of the node
    ("price_currency", _TEXT, ""),  # of all prices and costs of the row
    ("cpu_percent_mean", _REAL, "percent of one core"),
    ("peak_rss_bytes", _WHOLE, "bytes"),  # of the worker's process tree
    ("gpu_percent_mean", _REAL, "percent"),
    ("peak_gpu_memory_bytes", _WHOLE, "bytes"),  # by the framework, else by the driver
    ("energy_j", _REAL, "J"),  # of the timed phases: of its GPUs, else of the CPU sockets
    ("energy_source", _TEXT, ""),  # `measured`, `estimated` or `unavailable`
    ("energy_reason", _TEXT, ""),  # why it is not measured
    ("energy_per_gradient_j", _REAL, "J per call"),  # from the same meters
    ("energy_deviation_percent", _REAL, "percent"),  # integrated power above the energy counter
    ("peak_gpu_process_memory_bytes", _WHOLE, "bytes"),  # of its own processes, by the driver
    *list_means("forward"),
    *list_means("gradient"),
    ("interference_free", _YES, ""),  # no interference above the thresholds
    ("interference", _TEXT, ""),  # sources of interference
    ("minor_interference", _TEXT, ""),  # sources below the thresholds
    ("other_cpu_percent_mean", _REAL, "percent of one core, on its cores"),
    ("other_cores_percent_mean", _REAL, "percent of one core, on other cores"),
    ("steal_percent_mean", _REAL, "percent of its cores"),
    ("sampling_cpu_s", _REAL, "s of CPU time"),  # of the sampler, including its start
    ("canary_model", _TEXT, ""),  # with framework and version; only equal canaries are comparable
    ("canary_before_ns", _REAL, "ns per call"),
    ("canary_after_ns", _REAL, "ns per call"),
    ("exclusive", _YES, ""),  # no other task of ours ran on the node
    ("kernels", pa.list_(_TEXT), ""),  # linear algebra kernels that ran: `openblas 0.3.13 SKYLAKEX`
    ("notes", pa.list_(_TEXT), ""),  # from the adapter; `composed: ` marks a missing operation
    ("environment_hash", _TEXT, ""),  # of the lock file that installed the framework
    ("seed", _WHOLE, ""),  # of weights and batches
    ("velodrome_version", _TEXT, ""),
)

# For reads of large sweeps: a task's checks are longer than the rest of its row.
WITHOUT_CHECKS = tuple(name for name in TASKS.names if name != "checks")

SAMPLES = _table(
    ("sweep_id", _TEXT, ""),
    ("task_id", _TEXT, ""),
    ("repeat", _SMALL, ""),
    ("phase", _TEXT, ""),  # a timed phase
    ("index", _SMALL, ""),  # number within the phase
    ("calls", _SMALL, ""),  # short calls that were timed together
    ("started_ns", _WHOLE, "ns of the node's CLOCK_MONOTONIC"),
    ("elapsed_ns", _WHOLE, "ns for all calls together"),
)

UTILIZATION = _table(
    ("sweep_id", _TEXT, ""),
    ("task_id", _TEXT, ""),
    ("repeat", _SMALL, ""),
    ("at_ns", _WHOLE, "ns of the node's CLOCK_MONOTONIC"),
    ("phase", _TEXT, ""),  # phase at this instant
    ("cpu_percent", _REAL, "percent of one core"),  # of the worker's process tree
    ("rss_bytes", _WHOLE, "bytes"),
    ("threads", _SMALL, ""),  # of the worker's process tree
    ("context_switches", _WHOLE, "since the start"),
    ("read_bytes", _WHOLE, "bytes since the start"),
    ("written_bytes", _WHOLE, "bytes since the start"),
    ("node_cpu_percent", _REAL, "percent of all cores"),
    ("cpu_mhz", _REAL, "MHz"),
    ("pressure_percent", _REAL, "percent"),  # of the time, some process waited for a CPU
    ("package_energy_uj", _WHOLE, "uJ of all sockets, since sampling began"),
    ("other_cpu_percent", _REAL, "percent of one core, on its cores"),
    ("interrupt_percent", _REAL, "percent of one core, on its cores"),
    ("other_cores_percent", _REAL, "percent of one core, on other cores"),
    ("steal_percent", _REAL, "percent of its cores"),
    ("memory_pressure_percent", _REAL, "percent"),
    ("quota_us", _WHOLE, "us, over all CPUs"),
    ("thermal_throttles", _WHOLE, "times, over its cores"),
    ("swapped_in_pages", _WHOLE, "pages since boot"),
    ("gpu_index", _SMALL, ""),  # null if the task has no GPU
    ("gpu_uuid", _TEXT, ""),
    ("gpu_percent", _REAL, "percent"),  # of the time, a kernel ran
    ("gpu_memory_percent", _REAL, "percent"),  # of the time, memory was read or written
    ("gpu_memory_bytes", _WHOLE, "bytes"),  # used by all processes
    ("process_gpu_memory_bytes", _WHOLE, "bytes"),  # of the worker's process tree
    ("power_w", _REAL, "W"),
    ("energy_mj", _WHOLE, "mJ since the driver's start"),
    ("temperature_c", _REAL, "degrees Celsius"),
    ("sm_mhz", _SMALL, "MHz"),
    ("throttle_reasons", _WHOLE, "bits, as NVML has them"),  # see docs/utilization.md
    ("gpu_other_processes", _SMALL, ""),  # processes of others on the GPU
    ("gpu_other_memory_bytes", _WHOLE, "bytes"),  # used by processes of others
)

NODES = _table(
    ("sweep_id", _TEXT, ""),
    ("node_id", _TEXT, ""),
    ("hostname", _TEXT, ""),
    ("node_type", _TEXT, ""),
    ("cpu_model", _TEXT, ""),
    ("sockets", _SMALL, ""),
    ("cores", _SMALL, ""),  # physical cores
    ("threads", _SMALL, ""),  # logical CPUs
    ("numa_nodes", _SMALL, ""),
    ("caches", _TEXT, ""),
    ("governor", _TEXT, ""),
    ("ram_bytes", _WHOLE, "bytes"),  # of the machine, or less if a container is limited
    ("machine_ram_bytes", _WHOLE, "bytes"),
    ("machine_cpus", _SMALL, ""),  # logical CPUs, including those that may not be used
    ("kernel", _TEXT, ""),
    ("system", _TEXT, ""),
    ("architecture", _TEXT, ""),
    ("virtualization", _TEXT, ""),  # empty on bare metal
    ("labels", pa.list_(pa.struct([("key", _TEXT), ("value", _TEXT)])), ""),  # from Ray
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
    ("instructions", _TEXT, ""),  # instruction sets of its CPU that bound its rates
    ("price_per_hour", _REAL, "price_currency per hour"),  # as the user gave it
    ("price_currency", _TEXT, ""),
    ("cuda_major", _SMALL, ""),  # newest CUDA that the driver supports; 0: unknown
    (
        "ceilings",
        pa.list_(
            pa.struct([("device", _TEXT), ("gemm_flops_per_s", _REAL), ("copy_bytes_per_s", _REAL)])
        ),
        "FLOP/s and bytes/s",
    ),
    (
        "ceilings_by_dtype",
        pa.list_(
            pa.struct(
                [
                    ("device", _TEXT),
                    ("computes_in", _TEXT),
                    ("gemm_flops_per_s", _REAL),
                    ("copy_bytes_per_s", _REAL),
                ]
            )
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
    ("name", _TEXT, ""),  # name of the parameter in the model
    ("shape", pa.list_(_WHOLE), ""),
    ("reference_norm", _REAL, ""),  # norm of its float64 gradient
    ("error", _REAL, "relative"),  # norm of the difference over the reference's norm
    ("allowed", _REAL, "relative"),  # tolerance of the error, by precision and parameter
)

TABLES: dict[str, pa.Schema] = {
    "tasks": TASKS,
    "samples": SAMPLES,
    "utilization": UTILIZATION,
    "nodes": NODES,
    "parameters": PARAMETERS,
}
