"""What a worker does for each action of a request, from the import of the framework on."""

import importlib
from typing import Any, Callable, Dict, Tuple, Type

import numpy

from velodrome.adapters.contract import Adapter, Batch, HostStopwatch
from velodrome.adapters.models import MODELS, shapes
from velodrome.adapters.models.layers import Model, NoLoss
from velodrome.adapters.proof import agreement, checks, reference, reference_file, seeding
from velodrome.adapters.proof.timed_phase import Phase as TimedPhase
from velodrome.adapters.proof.timed_phase import Proof
from velodrome.adapters.protocol import (
    Built,
    Finished,
    FirstCall,
    Imported,
    Phase,
    ProtocolError,
    Request,
    monotonic_ns,
)
from velodrome.adapters.worker import call_timing, kernels

Send = Callable[[Any], None]


def run(request: Request, send: Send) -> None:
    """ProtocolError if there is no such action."""
    if request.action not in ACTIONS:
        raise ProtocolError(
            "no action {!r}. There are {}".format(request.action, ", ".join(sorted(ACTIONS)))
        )
    ACTIONS[request.action](request, send)


def check(request: Request, send: Send) -> None:
    """Whether the framework can be imported, and its version."""
    enter("import", send)
    started_ns = monotonic_ns()
    version = import_adapter(request.adapter).version()
    send(imported(version, "", monotonic_ns() - started_ns))
    finish(0, send)


def make_reference(request: Request, send: Send) -> None:
    """Compute the float64 reference, and write it to the path of the request."""
    enter("verify", send)
    model = find_model(request.model)
    found = reference.compute(model, request.batch_size, request.seed)
    reference_file.save(request.reference, found)
    finish(0, send)


def measure(request: Request, send: Send) -> None:
    """Verify, then time the very thing that was verified."""
    model = find_model(request.model)
    known = load_reference(request, model)
    adapter = start(request, model, send)
    batches = seeding.batches(model, request.batch_size, request.seed, draws=known.draws)
    build(adapter, seeding.weights(model, request.seed), batches, send)
    verify(adapter, model, known, request, send)
    proof = Proof(adapter, model, known, request, batches)
    phases = [time_phase(phase, call, proof, send) for phase, call in calls_of(adapter, model)]
    peak_bytes = adapter.peak_memory_bytes()  # before batches are loaded that nothing timed
    enter("prove", send)
    checks.check_all(proof, phases, send)
    finish(peak_bytes, send, kernels_of(adapter))


def find_model(name: str) -> Model:
    if name not in MODELS:
        raise ProtocolError("no model {!r}. There are {}".format(name, ", ".join(sorted(MODELS))))
    return MODELS[name]


def load_reference(request: Request, model: Model) -> reference.Reference:
    """ProtocolError if the file holds the reference of something else."""
    known = reference_file.load(request.reference)
    if not reference.is_of(known, model, request.batch_size, request.seed):
        raise ProtocolError(
            "{} is the reference of another model, batch size or seed than {} b{} s{}. "
            "Compute it again".format(
                request.reference, model.name, request.batch_size, request.seed
            )
        )
    return known


def import_adapter(module: str) -> Type[Adapter]:
    """The framework comes with it. ImportError whatever goes wrong, but for lack of memory.

    Frameworks of another age fail on import with an AttributeError, a RuntimeError or an OSError.
    """
    try:
        return importlib.import_module(module).Adapter
    except (ImportError, MemoryError):
        raise
    except Exception as error:
        raise ImportError(
            "{} fails on import: {}: {}".format(module, type(error).__name__, error)
        ) from error


def start(request: Request, model: Model, send: Send) -> Adapter:
    """Import the framework, set its threads and device."""
    enter("import", send)
    started_ns = monotonic_ns()
    kind = import_adapter(request.adapter)
    adapter = kind(model, request.variant, request.device, request.threads, request.dtype)
    event = imported(kind.version(), adapter.device_name(), monotonic_ns() - started_ns)
    send(event._replace(kernels=kernels_of(adapter)))
    return adapter


def kernels_of(adapter: Adapter) -> Tuple[str, ...]:
    """Of the libraries that are loaded by now, and what the framework tells of those built in."""
    return tuple(sorted(set(kernels.loaded() + adapter.kernels())))


def build(
    adapter: Adapter, weights: Dict[str, numpy.ndarray], batches: Tuple[Batch, ...], send: Send
) -> None:
    """From arrays on the host to a network and batches on the device; dropout off, to verify."""
    enter("build", send)
    stopwatch = HostStopwatch(adapter.synchronize)
    stopwatch.start()
    adapter.build(weights)
    network_ns = stopwatch.stop()
    stopwatch.start()
    adapter.load(batches)
    transfer_ns = stopwatch.stop()
    adapter.set_dropout(False)
    send(Built(network_ns + transfer_ns, transfer_ns, monotonic_ns()))


def verify(
    adapter: Adapter, model: Model, known: reference.Reference, request: Request, send: Send
) -> None:
    """Agreement with dropout off, then dropout itself, which stays on from here."""
    enter("verify", send)
    for phase, call in reversed(calls_of(adapter, model)):
        first_call(phase, call, adapter, send)
    verified = agreement.verify(known, adapter, request.dtype)
    notes = agreement.check_dropout(model, adapter, request.batch_size)
    send(verified._replace(notes=verified.notes + notes))


def first_call(phase: str, call: Callable[[int], Any], adapter: Adapter, send: Send) -> None:
    stopwatch = HostStopwatch(adapter.synchronize)
    stopwatch.start()
    call(0)
    send(FirstCall(phase, stopwatch.stop(), monotonic_ns()))


def time_phase(phase: str, call: Callable[[int], Any], proof: Proof, send: Send) -> TimedPhase:
    """Warm up, time, and prove that what was timed did the work."""
    calls = call_timing.Calls(
        call, len(proof.batches), proof.adapter.stopwatch(), seeding.unit(proof.model)
    )
    enter("warmup", send)
    warm = call_timing.warm_up(calls, proof.request.timing)
    enter(phase, send)
    taken = call_timing.take_samples(phase, calls, warm, proof.request.timing, send)
    send(taken.timed)
    enter("prove", send)
    timed = TimedPhase(phase, calls, taken)
    checks.check_phase(proof, timed, send)
    return timed


def calls_of(adapter: Adapter, model: Model) -> Tuple[Tuple[str, Callable[[int], Any]], ...]:
    """What is timed, each with its phase, forward first."""
    if isinstance(model.loss, NoLoss) or not shapes.trained(model):
        return (("forward", adapter.forward),)
    return (("forward", adapter.forward), ("gradient", adapter.gradient))


def enter(phase: str, send: Send) -> None:
    send(Phase(phase, monotonic_ns()))


def imported(version: str, device_name: str, import_ns: int) -> Imported:
    return Imported(version, numpy.__version__, import_ns, device_name, monotonic_ns())


def finish(peak_gpu_memory_bytes: int, send: Send, told: Tuple[str, ...] = ()) -> None:
    """told: the kernels that ran."""
    send(Finished(peak_gpu_memory_bytes, monotonic_ns(), told))


ACTIONS = {"check": check, "reference": make_reference, "measure": measure}
