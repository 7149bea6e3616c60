"""The action that runs a model at a batch size, to see whether there is enough memory."""

from typing import Any, List, Sequence

from velodrome.adapters.contract import Batch
from velodrome.adapters.models.layers import Code, Sequences
from velodrome.adapters.proof import dropout_shares, phase_modes, reference, seeding
from velodrome.adapters.proof.phase_modes import list_calls
from velodrome.adapters.proof.timed_phase import ProofContext
from velodrome.adapters.protocol import Finished, Request, monotonic_ns
from velodrome.adapters.worker.adapter_steps import (
    Send,
    build_network,
    find_model,
    send_phase,
    start_adapter,
    time_first_call,
)

FIT_CALLS = 2  # of each phase: the first compiles, the second takes the usual time


def fit_batch(request: Request, send: Send) -> None:
    """Run every timed call at the request's batch size, holding as much memory as `measure` does.

    Random examples as in a measurement, but without the search for clear ones: none is verified.
    """
    model = find_model(request.model)
    adapter = start_adapter(request, model, send)
    weights = seeding.draw_weights(model, request.seed)
    batches = seeding.draw_batches(model, request.batch_size, request.seed)
    build_network(adapter, weights, batches, send)
    if isinstance(model.input, Code):  # which has drawn its own
        weights = dict(adapter.parameters()) if phase_modes.trains(request, model) else {}
    blank = reference.make_blank(model, request.batch_size, request.seed, request.dtype)
    proof = ProofContext(adapter, model, blank, request, batches, weights)
    send_phase("warmup", send)
    dropout_shares.check_dropout(model, adapter, request.batch_size)
    fresh = seeding.draw_fresh_batches(model, request.batch_size, request.seed)
    largest = find_largest(batches) if isinstance(model.input, Sequences) else 0
    held: List[Any] = []  # the result of the call before, as some checks hold it
    for phase, call in reversed(list_calls(proof)):
        with phase_modes.phase_mode(proof, phase):
            for _ in range(FIT_CALLS):
                held.append(time_first_call(phase, call, adapter, send, largest))
                del held[:-1]
            adapter.load(fresh)  # beside the others, which the host keeps
            held.append(call(largest))
    adapter.synchronize()
    peak_bytes = adapter.peak_memory_bytes()
    send(Finished(peak_bytes, monotonic_ns(), peak_rss_bytes=read_peak_rss_bytes()))


def read_peak_rss_bytes() -> int:
    """Return the most memory that this process had at once, which no watcher misses.

    Not getrusage's: that is also of the process before its exec. 0 if the kernel does not tell.
    """
    try:
        with open("/proc/self/status") as file:
            found = [line.split()[1] for line in file if line.startswith("VmHWM:")]
    except OSError:
        return 0
    return 1024 * int(found[0]) if found else 0


def find_largest(batches: Sequence[Batch]) -> int:
    """Return the number of the batch with the longest sequences."""
    return max(range(len(batches)), key=lambda index: batches[index].inputs.size)
