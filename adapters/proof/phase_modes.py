"""The timed phases of an adapter: their calls, and what has to be set before and after them."""

import contextlib
from typing import Any, Callable, Dict, Iterator, Tuple

from velodrome.adapters.contract import Adapter, Handle
from velodrome.adapters.models import shapes
from velodrome.adapters.models.layers import Model
from velodrome.adapters.proof.timed_phase import ProofContext
from velodrome.adapters.protocol import LOADING_PHASES, TRAINING_PHASES, Request

Call = Callable[[int], Handle]


def list_calls(proof: ProofContext) -> Tuple[Tuple[str, Call], ...]:
    """List the request's timed phases that the model has, in order, each with its call."""
    adapter = proof.adapter
    calls: Dict[str, Call] = {
        "forward": adapter.forward,
        "gradient": adapter.gradient,
        "inference": adapter.inference,
        "update": ignore_index(adapter),
        "step": adapter.step,
    }
    if proof.feed is not None:
        calls.update(
            {
                "load": proof.feed.take,
                "prefetched_load": proof.feed.take,
                "fed_gradient": proof.feed.differentiate,
            }
        )
    names = shapes.list_timed_phases(proof.model, proof.request.phases)
    return tuple((name, calls[name]) for name in names)


def trains(request: Request, model: Model) -> bool:
    """Return True if a requested phase that the model has changes parameters."""
    return shapes.changes_parameters(model, request.phases)


@contextlib.contextmanager
def phase_mode(proof: ProofContext, phase: str, place: int = 0) -> Iterator[Any]:
    """Set the adapter for calls of a phase; behind it, parameters and mode are as before.

    Also if an exception leaves it. place: of the checked batch whose gradients `update` uses. The
    context's value is the handle of those gradients, else None.
    """
    kept = None
    if phase == "inference":
        proof.adapter.start_inference(proof.reference.evaluation.statistics)
    elif phase in TRAINING_PHASES:
        restart_training(proof)
        if phase == "update":
            kept = proof.adapter.keep_gradients(proof.places[place])
    elif phase in LOADING_PHASES:
        proof.data.start(phase)
    try:
        yield kept
    finally:
        if phase == "inference":
            proof.adapter.end_inference()
        elif phase in TRAINING_PHASES:
            restart_training(proof)
        elif phase in LOADING_PHASES:
            proof.data.stop()


def restart_training(proof: ProofContext) -> None:
    """Give all parameters their first values, and the optimizer an empty state."""
    proof.adapter.start_training(proof.request.optimizer, proof.weights)


def ignore_index(adapter: Adapter) -> Call:
    """Return the call of an update, which has no batch."""
    update = adapter.update

    def call(index: int) -> Handle:
        return update()

    return call
