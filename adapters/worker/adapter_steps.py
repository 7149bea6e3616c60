"""Steps that the actions of a worker share, each with the event that it sends."""

import importlib
from typing import Any, Callable, Dict, Tuple, Type

import numpy

from velodrome.adapters.contract import Adapter, Batch, HostStopwatch
from velodrome.adapters.models import MODELS
from velodrome.adapters.models.layers import Model
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
from velodrome.adapters.worker import kernels
from velodrome.adapters.worker.heap import keep_freed_memory

Send = Callable[[Any], None]


def find_model(name: str) -> Model:
    """Return a model by its name. ProtocolError if it does not exist."""
    if name not in MODELS:
        raise ProtocolError("no model {!r}. Known: {}".format(name, ", ".join(sorted(MODELS))))
    return MODELS[name]


def import_adapter(module: str) -> Type[Adapter]:
    """Import an adapter and its framework. ImportError for every failure except lack of memory.

    Old frameworks fail on import with an AttributeError, a RuntimeError or an OSError.
    """
    try:
        kind: Type[Adapter] = importlib.import_module(module).Adapter
        return kind
    except (ImportError, MemoryError):
        raise
    except Exception as error:
        raise ImportError(
            "{} fails on import: {}: {}".format(module, type(error).__name__, error)
        ) from error


def start_adapter(request: Request, model: Model, send: Send) -> Adapter:
    """Import the framework and set its threads and device."""
    keep_freed_memory()
    send_phase("import", send)
    started_ns = monotonic_ns()
    kind = import_adapter(request.adapter)
    adapter = kind(model, request.variant, request.device, request.threads, request.dtype)
    event = make_imported(kind.version(), adapter.device_name(), monotonic_ns() - started_ns)
    send(event._replace(kernels=list_kernels(adapter)))
    return adapter


def list_kernels(adapter: Adapter) -> Tuple[str, ...]:
    """List the kernels of loaded libraries and of those built into the framework."""
    return tuple(sorted(set(kernels.list_loaded_kernels() + adapter.kernels())))


def build_network(
    adapter: Adapter, weights: Dict[str, numpy.ndarray], batches: Tuple[Batch, ...], send: Send
) -> None:
    """Build the network and load the batches; dropout is off for verification."""
    send_phase("build", send)
    stopwatch = HostStopwatch(adapter.synchronize)
    stopwatch.start()
    adapter.build(weights)
    network_ns = stopwatch.stop()
    stopwatch.start()
    adapter.load(batches)
    transfer_ns = stopwatch.stop()
    adapter.set_dropout(False)
    send(Built(network_ns + transfer_ns, transfer_ns, monotonic_ns()))


def time_first_call(
    phase: str, call: Callable[[int], Any], adapter: Adapter, send: Send, index: int = 0
) -> Any:
    """Time the first call of a phase, with its compilation, and return its result."""
    stopwatch = HostStopwatch(adapter.synchronize)
    stopwatch.start()
    result = call(index)
    send(FirstCall(phase, stopwatch.stop(), monotonic_ns()))
    return result


def send_phase(phase: str, send: Send) -> None:
    """Send the begin of a phase."""
    send(Phase(phase, monotonic_ns()))


def make_imported(version: str, device_name: str, import_ns: int) -> Imported:
    """Return the event of an import that took import_ns."""
    return Imported(version, numpy.__version__, import_ns, device_name, monotonic_ns())


def send_finished(peak_gpu_bytes: int, send: Send, ran: Tuple[str, ...] = ()) -> None:
    """Send `finished`. ran: the kernels that ran."""
    send(Finished(peak_gpu_bytes, monotonic_ns(), ran))
