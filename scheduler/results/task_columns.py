"""The columns of the table `tasks`, with their types, units and meanings: see `schema`."""

import pyarrow as pa

from velodrome.scheduler.results.columns import (
    REAL,
    SMALL,
    TEXT,
    TIME,
    WHOLE,
    YES,
    make_table,
)
from velodrome.scheduler.results.phase_columns import list_means, list_partner_means, list_timing

_FIGURES = pa.list_(pa.struct([("name", TEXT), ("value", REAL)]))  # the unit ends the name
_CHECKS = pa.list_(
    pa.struct(
        [
            ("name", TEXT),
            ("phase", TEXT),
            ("outcome", TEXT),
            ("reason", TEXT),
            ("figures", _FIGURES),
        ]
    )
)

TASKS = make_table(
    ("sweep_id", TEXT, ""),  # sorts by the sweep's start (UTC)
    ("task_id", TEXT, ""),  # hash of everything that decides the result
    ("repeat", SMALL, ""),  # number of the repeat; each runs in a fresh process
    ("attempt", SMALL, ""),  # above 1: the last was lost, or a node or environment was missing
    ("status", TEXT, ""),  # `ok`, `unstable`, or why there is no time
    ("reason", TEXT, ""),  # explanation of the status
    ("expected", TEXT, ""),  # `agreed`, or outcomes joined by ` or `
    ("expected_reason", TEXT, ""),  # why another outcome than `agreed` is expected
    ("unexpected", YES, ""),  # the outcome differs from the expected one
    ("log_tail", TEXT, ""),  # end of the worker's output after a failure
    ("rerun", TEXT, ""),  # command that runs this task alone
    ("framework", TEXT, ""),  # as in the sweep file, with a version if given there
    ("framework_version", TEXT, ""),  # as the framework reports it
    ("variant", TEXT, ""),  # way to run the framework, such as `eager`
    ("model", TEXT, ""),
    ("batch_size", SMALL, "examples"),  # 0: `auto` found none
    ("batch_size_rule", TEXT, ""),  # `auto`: the largest that fits its node; null: as given
    ("device", TEXT, ""),  # `cpu` or `gpu`
    ("processes", SMALL, ""),  # on a CPU, that share each batch; null: 1, and one GPU at most
    ("nodes", SMALL, ""),  # with as many processes or GPUs each; null: 1
    ("threads", SMALL, ""),  # of each process or GPU
    ("dtype", TEXT, ""),  # precision: `float32`, `tf32`, `bfloat16` or `float16`
    ("phases", pa.list_(TEXT), ""),  # timed phases, as asked for; null: forward and gradient
    ("optimizer", TEXT, ""),  # of update and step: `sgd` or `adamw`; null without these
    ("node_id", TEXT, ""),
    ("hostname", TEXT, ""),
    ("partner_node_ids", pa.list_(TEXT), ""),  # other nodes of a task on several
    ("partner_hostnames", pa.list_(TEXT), ""),
    ("node_type", TEXT, ""),  # name of its hardware; only equal types are comparable
    ("cpu_model", TEXT, ""),
    ("gpu_name", TEXT, ""),
    ("gpu_count", SMALL, ""),
    ("gpu_model", TEXT, ""),  # as requested
    ("gpu_uuids", pa.list_(TEXT), ""),  # GPUs that it used
    ("gpu_compute_capability", TEXT, ""),  # such as 8.0; null: no CUDA GPU, or not stated
    ("gpu_numa_nodes", pa.list_(SMALL), ""),  # in the order of gpu_uuids; null: not stated
    ("started_at", TIME, "UTC"),  # by the node's clock
    ("finished_at", TIME, "UTC"),
    ("waited_ns", WHOLE, "ns"),  # for busy cores and GPUs; not a cost of the task
    ("provision_ns", WHOLE, "ns"),  # to install its environment
    ("import_ns", WHOLE, "ns"),  # to import the framework
    ("build_ns", WHOLE, "ns"),  # to build the model
    ("transfer_ns", WHOLE, "ns"),  # to copy weights and batch to the device
    ("first_call_ns", WHOLE, "ns"),  # of all its phases; includes compilation
    ("time_to_first_step_ns", WHOLE, "ns"),  # import, build and first calls
    ("forward_median_ns", REAL, "ns per call"),  # forward pass of one batch, including the loss
    ("forward_low_ns", REAL, "ns per call"),  # from this process's samples alone
    ("forward_high_ns", REAL, "ns per call"),
    ("forward_samples", WHOLE, ""),  # number of timed samples
    ("forward_stop_reason", TEXT, ""),
    ("forward_stable", YES, ""),  # interval is within the target
    ("gradient_median_ns", REAL, "ns per call"),  # forward and backward pass, all gradients
    ("gradient_low_ns", REAL, "ns per call"),  # null if the samples give no interval
    ("gradient_high_ns", REAL, "ns per call"),
    ("gradient_samples", WHOLE, ""),
    ("stop_reason", TEXT, ""),  # of gradient, else step, update, inference, forward
    ("stable", YES, ""),  # of the same phase
    ("warm_up_converged", YES, ""),  # every warm-up ended with a steady speed
    ("forward_instability", TEXT, ""),  # `wide`, `few`, `kinds`, `slow` or `drift`; null if stable
    ("gradient_instability", TEXT, ""),
    ("forward_drift", REAL, "share of the median"),  # significant change of speed in the phase
    ("gradient_drift", REAL, "share of the median"),  # significant change of speed in the phase
    ("forward_p95_ns", REAL, "ns per call"),  # of samples; null if there are too few
    ("forward_p99_ns", REAL, "ns per call"),
    ("gradient_p95_ns", REAL, "ns per call"),
    ("gradient_p99_ns", REAL, "ns per call"),
    *list_timing("inference"),  # forward without the loss, in evaluation mode
    *list_timing("update"),  # the optimizer's step
    *list_timing("step"),  # gradient and update as one call
    *list_timing("load"),  # one batch of a data set to the device, nothing read ahead
    *list_timing("prefetched_load"),  # the next batch, back to back, from a loader that reads ahead
    *list_timing("fed_gradient"),  # the gradient of such batches
    ("hidden_load_share", REAL, "share of a load"),  # 1 - (fed_gradient - gradient) / load
    ("loss_error", REAL, "relative"),  # against the reference
    ("gradient_error", REAL, "relative"),  # largest over all parameters
    ("verified", YES, ""),  # loss and gradients agree with the float64 reference
    ("verified_against", TEXT, ""),  # `reference`; `itself`: the user's own code in float64
    ("proved", pa.list_(TEXT), ""),  # checks that passed in every timed phase
    ("unproved", pa.list_(TEXT), ""),  # other checks: `name phase: outcome: reason`
    ("checks", _CHECKS, ""),  # each check of each timed phase; null: version without checks
    ("parameters", WHOLE, "values"),  # number of values in the model
    ("model_hash", TEXT, ""),  # of layers, input and loss; only equal models are comparable
    ("forward_flops", REAL, "FLOP per call"),  # computed from the model's definition
    ("gradient_flops", REAL, "FLOP per call"),
    ("inference_flops", REAL, "FLOP per call"),  # as of forward
    ("step_flops", REAL, "FLOP per call"),  # as of gradient: an update has no products
    ("loaded_bytes", WHOLE, "bytes per call"),  # of a loaded batch's inputs, decoded
    ("tokens", REAL, "tokens per call"),  # true ones of a batch; null: its input is no sequence
    ("ceiling_flops_per_s", REAL, "FLOP/s"),
    ("ceiling_source", TEXT, ""),  # who reached it, with node and sweep if others
    ("gradient_efficiency", REAL, "share of the ceiling"),
    ("vendor_peak_flops_per_s", REAL, "FLOP/s"),  # dense, of its GPUs or cores, in its precision
    ("vendor_peak_source", TEXT, ""),
    ("vendor_peak_reason", TEXT, ""),  # why it is unknown
    ("node_price_per_hour", REAL, "per hour"),  # of the whole node, as the user gave it
    ("task_price_per_hour", REAL, "per hour"),  # of the task's share of the node
    ("price_currency", TEXT, ""),  # of all prices and costs of the row
    ("cpu_percent_mean", REAL, "percent of one core"),
    ("peak_rss_bytes", WHOLE, "bytes"),  # of the worker's process tree
    ("gpu_percent_mean", REAL, "percent"),
    ("peak_gpu_memory_bytes", WHOLE, "bytes"),  # by the framework, else by the driver
    ("energy_j", REAL, "J"),  # of the timed phases: of its GPUs, else of the CPU sockets
    ("energy_source", TEXT, ""),  # `measured`, `estimated` or `unavailable`
    ("energy_reason", TEXT, ""),  # why it is not measured
    ("energy_per_gradient_j", REAL, "J per call"),  # from the same meters; null: too short for them
    ("energy_per_forward_j", REAL, "J per call"),  # as of gradient
    ("energy_per_inference_j", REAL, "J per call"),
    ("energy_per_update_j", REAL, "J per call"),
    ("energy_per_step_j", REAL, "J per call"),
    ("energy_per_load_j", REAL, "J per call"),
    ("energy_per_prefetched_load_j", REAL, "J per call"),
    ("energy_per_fed_gradient_j", REAL, "J per call"),
    ("energy_deviation_percent", REAL, "percent"),  # integrated power above the energy counter
    ("peak_gpu_process_memory_bytes", WHOLE, "bytes"),  # of its own processes, by the driver
    *list_means("forward"),
    *list_means("gradient"),
    *list_partner_means("forward"),
    *list_partner_means("gradient"),
    ("interference_free", YES, ""),  # no interference above the thresholds
    ("interference", TEXT, ""),  # sources of interference
    ("minor_interference", TEXT, ""),  # sources below the thresholds
    ("other_cpu_percent_mean", REAL, "percent of one core, on its cores"),
    ("other_cores_percent_mean", REAL, "percent of one core, on other cores"),
    ("steal_percent_mean", REAL, "percent of its cores"),
    ("sampling_cpu_s", REAL, "s of CPU time"),  # of the sampler, including its start
    ("canary_model", TEXT, ""),  # with framework and version; only equal canaries are comparable
    ("canary_before_ns", REAL, "ns per call"),
    ("canary_after_ns", REAL, "ns per call"),
    ("exclusive", YES, ""),  # no other task of ours ran on the node
    ("kernels", pa.list_(TEXT), ""),  # linear algebra kernels that ran: `openblas 0.3.13 SKYLAKEX`
    ("notes", pa.list_(TEXT), ""),  # from the adapter; `composed: ` marks a missing operation
    ("environment_hash", TEXT, ""),  # of the lock file that installed the framework
    ("seed", WHOLE, ""),  # of weights and batches
    ("velodrome_version", TEXT, ""),
)
