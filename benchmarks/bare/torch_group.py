"""The networks of torch_loop.py by DistributedDataParallel over gloo, as torchrun starts them.

python -m torch.distributed.run --standalone --nproc-per-node=2 torch_group.py lenet \
    --batch-size 64 --threads 1 [--seconds 4] [--samples 10]

The batch size is that of all processes together. Each runs on CPUs of its own. All take as many
samples as rank 0 says, which prints the medians. A sample lasts until the slowest process is done,
as nccl-tests counts.
"""

import gc
import json
import os
import time
from statistics import median

import torch
from loop import WARM_UP_S, arguments, keep_freed_memory, start_with_threads
from torch import distributed, nn
from torch_loop import MODELS, cross_entropy, set_threads


def main():
    options = arguments(MODELS)
    start_with_threads(options.threads)
    keep_freed_memory()
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    cpus = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cpus[rank * options.threads : (rank + 1) * options.threads])
    distributed.init_process_group("gloo")
    set_threads(options.threads)
    network, ((inputs, labels),) = MODELS[options.model](options.batch_size // size)
    parallel = nn.parallel.DistributedDataParallel(network, gradient_as_bucket_view=True)

    def forward():
        with torch.no_grad():
            return cross_entropy(network(*inputs), labels)

    def gradient():
        for parameter in network.parameters():
            parameter.grad = None
        cross_entropy(parallel(*inputs), labels).backward()

    found = {
        "forward_ns": median_ns(forward, options),
        "gradient_ns": median_ns(gradient, options),
    }
    if rank == 0:
        print(json.dumps(found), flush=True)
    distributed.destroy_process_group()


def median_ns(call, options):
    gc.collect()
    gc.disable()
    began, warm = time.perf_counter(), 0
    while agree(warm < 3 or time.perf_counter() < began + WARM_UP_S):
        call()
        warm += 1
    call_s = (time.perf_counter() - began) / warm
    samples = []
    for _ in range(agree(max(options.samples, int(options.seconds / call_s)))):
        distributed.barrier()
        started = time.perf_counter()
        call()
        samples.append(time.perf_counter() - started)
    gc.enable()
    slowest = torch.tensor(samples, dtype=torch.float64)
    distributed.all_reduce(slowest, distributed.ReduceOp.MAX)
    return 1e9 * median(slowest.tolist())


def agree(value):
    """Return rank 0's value, a whole number, in every process."""
    shared = torch.tensor([int(value)])
    distributed.broadcast(shared, 0)
    return int(shared)


if __name__ == "__main__":
    main()
