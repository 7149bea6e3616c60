"""The command line of every bare loop: forward and gradient of one model, one after the other.

This folder uses nothing of Velodrome. A script NAME_loop.py defines `make(model, batch_size,
threads)` and passes it to `main`, which prints one line of JSON, the median ns of one batch:
{"forward_ns": ..., "gradient_ns": ...}. Runs on Python 3.6.

Three settings avoid random slow runs, which would favour Velodrome: freed memory is kept, Python's
garbage collector is off, as in timeit, and the libraries' variables for threads are set before any
import.
"""

import argparse
import ctypes
import gc
import json
import os
import statistics
import sys
import time
from typing import Any, Callable, NamedTuple

WARM_UP_S = 1.0
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NPROC")


class Calls(NamedTuple):
    """A model that is ready: forward(i) and gradient(i) take batch i, 0 <= i < batches."""

    forward: Callable[[int], Any]
    gradient: Callable[[int], Any]
    synchronize: Callable[[], Any]  # returns when all that was called is done
    batches: int = 1


def main(make, models):
    """Time a model. make(model, batch_size, threads): returns Calls. models: its names."""
    options = arguments(models)
    start_with_threads(options.threads)
    keep_freed_memory()
    calls = make(options.model, options.batch_size, options.threads)
    found = {
        "forward_ns": median_ns(calls.forward, calls, options),
        "gradient_ns": median_ns(calls.gradient, calls, options),
    }
    print(json.dumps(found))


def arguments(models):
    parser = argparse.ArgumentParser(description="Prints median ns of one batch as JSON.")
    parser.add_argument("model", choices=models)
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--samples", type=int, default=10, help="the fewest to take")
    parser.add_argument("--seconds", type=float, default=4.0, help="to sample for, per phase")
    return parser.parse_args()


def start_with_threads(threads):
    """Restart with the variables set: libraries read them when they are loaded."""
    wanted = {name: str(threads) for name in THREAD_VARIABLES}
    if any(os.environ.get(name) != value for name, value in wanted.items()):
        with open("/proc/self/environ") as file:  # the original one: frameworks change os.environ
            found = dict(line.split("=", 1) for line in file.read().split("\0") if line)
        os.execve(sys.executable, [sys.executable] + sys.argv, dict(found, **wanted))


def keep_freed_memory():
    """Set glibc to keep freed memory, as it is kept in a worker after verification.

    By default glibc returns memory and faults it in again: a gradient of LeNet has up to 2000
    faults (a tenth of its time) in one process and none in the next, depending on allocations.
    """
    trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD of malloc.h
    c_library = ctypes.CDLL(None)
    if hasattr(c_library, "mallopt"):
        c_library.mallopt(trim_threshold, 2**30)
        c_library.mallopt(mmap_threshold, 2**25)


def median_ns(call, calls, options):
    """Time one batch, after a warm-up."""
    gc.collect()
    gc.disable()
    ends = time.perf_counter() + WARM_UP_S
    pass_s(call, calls)
    while time.perf_counter() < ends:
        pass_s(call, calls)
    samples, ends = [], time.perf_counter() + options.seconds
    while len(samples) < options.samples or time.perf_counter() < ends:
        samples.append(pass_s(call, calls))
    gc.enable()
    return 1e9 * statistics.median(samples) / calls.batches


def pass_s(call, calls):
    """One pass over all batches."""
    calls.synchronize()
    started = time.perf_counter()
    for index in range(calls.batches):
        call(index)
    calls.synchronize()
    return time.perf_counter() - started
