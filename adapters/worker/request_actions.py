"""The actions of a worker.

Check an import, compute a reference, try a batch size, or verify and time a model.
"""

import functools
from typing import Any, Callable

from velodrome.adapters import optimizers
from velodrome.adapters.contract import Adapter
from velodrome.adapters.groups.leader import GroupAdapter
from velodrome.adapters.groups.membership import start_group
from velodrome.adapters.models.layers import Code, Model
from velodrome.adapters.own_code import reference as code_reference
from velodrome.adapters.own_code.adapter import FLOAT64, CodeAdapter
from velodrome.adapters.proof import (
    agreement,
    check_sequence,
    dropout_shares,
    phase_modes,
    reference,
    reference_file,
    seeding,
)
from velodrome.adapters.proof.disagreement import Disagreed
from velodrome.adapters.proof.feed import make_feed
from velodrome.adapters.proof.loaded_batches import check_loaded
from velodrome.adapters.proof.optimizer_updates import check_updates
from velodrome.adapters.proof.phase_modes import list_calls
from velodrome.adapters.proof.result_findings import check_output
from velodrome.adapters.proof.timed_phase import ProofContext, TimedPhase, merge_findings
from velodrome.adapters.protocol import (
    FAILED,
    LOADING_PHASES,
    TRAINING_PHASES,
    ProtocolError,
    Request,
    monotonic_ns,
)
from velodrome.adapters.worker import call_timing
from velodrome.adapters.worker.adapter_steps import (
    Send,
    build_network,
    find_model,
    import_adapter,
    list_kernels,
    make_imported,
    send_finished,
    send_phase,
    time_first_call,
)
from velodrome.adapters.worker.batch_fitting import fit_batch


def run_request(request: Request, send: Send) -> None:
    """Run the request's action. ProtocolError if it does not exist."""
    if request.action not in ACTIONS:
        raise ProtocolError(
            "no action {!r}. Known: {}".format(request.action, ", ".join(sorted(ACTIONS)))
        )
    ACTIONS[request.action](request, send)


def check_import(request: Request, send: Send) -> None:
    """Import the framework and send its version."""
    send_phase("import", send)
    started_ns = monotonic_ns()
    version = import_adapter(request.adapter).version()
    send(make_imported(version, "", monotonic_ns() - started_ns))
    send_finished(0, send)


def make_reference(request: Request, send: Send) -> None:
    """Compute the float64 reference and write it to the path of the request."""
    send_phase("verify", send)
    model = find_model(request.model)
    if isinstance(model.input, Code):
        found = code_reference.compute_code_reference(
            start_code(request, model),
            model,
            request.batch_size,
            request.seed,
            request.dtype,
            request.optimizer if phase_modes.trains(request, model) else "",
            request.phases,
        )
    else:
        found = reference.compute_reference(
            model,
            request.batch_size,
            request.seed,
            dtype=request.dtype,
            phases=request.phases,
            optimizer=request.optimizer,
            devices=request.all_devices,
        )
    reference_file.save_reference(request.reference, found)
    send_finished(0, send)


def start_code(request: Request, model: Model) -> CodeAdapter:
    """Import the framework of a user's code, and set it to compute in float64 on the CPU."""
    kind = import_adapter(request.adapter)
    adapter = kind(model, request.variant, "cpu", request.threads, FLOAT64)
    if not isinstance(adapter, CodeAdapter):
        raise ProtocolError("{} runs no code of the user's".format(request.adapter))
    return adapter


def measure(request: Request, send: Send) -> None:
    """Verify a network, then time that same network."""
    model = find_model(request.model)
    stored = load_reference(request, model)
    with start_group(request, model, send) as adapter:
        if isinstance(adapter, GroupAdapter):
            send = adapter.relay_phases(send)
        measure_adapter(request, model, adapter, stored, send)


def measure_adapter(
    request: Request, model: Model, adapter: Adapter, stored: reference.Reference, send: Send
) -> None:
    """Verify and time an adapter that has no network yet."""
    batches = seeding.draw_batches(model, request.batch_size, request.seed, draws=stored.draws)
    weights = seeding.draw_weights(model, request.seed)
    build_network(adapter, weights, batches, send)
    proof = ProofContext(
        adapter, model, stored, request, batches, feed=make_feed(adapter, model, request)
    )
    if phase_modes.trains(request, model):
        code = isinstance(model.input, Code)  # which has drawn its own
        proof = proof._replace(weights=dict(adapter.parameters()) if code else weights)
    del weights  # copies of all parameters, which only some phases need
    verify_adapter(proof, send)
    phases = [time_phase(phase, call, proof, send) for phase, call in list_calls(proof)]
    peak_bytes = adapter.peak_memory_bytes()  # before the untimed batches are loaded
    send_phase("prove", send)
    check_sequence.check_all(proof, phases, send)
    send_finished(peak_bytes, send, list_kernels(adapter))


def load_reference(request: Request, model: Model) -> reference.Reference:
    """Read the request's reference. ProtocolError if the file holds another one."""
    stored = reference_file.load_reference(request.reference)
    own = (model, request.batch_size, request.seed, request.dtype, request.all_devices)
    if not reference.is_reference_of(stored, *own):
        raise ProtocolError(
            "{} is the reference of another model, batch size, seed or dtype than {} b{} s{} {}. "
            "Compute it again".format(request.reference, model.name, *own[1:4])
        )
    if not reference.has_phases(stored, model, request.phases, request.optimizer):
        raise ProtocolError(
            "{} is a reference without {}. Compute it again".format(
                request.reference, ", ".join(request.phases)
            )
        )
    return stored


def verify_adapter(proof: ProofContext, send: Send) -> None:
    """Verify results with dropout off, then dropout itself, which stays on from here."""
    send_phase("verify", send)
    adapter, model = proof.adapter, proof.model
    calls = list_calls(proof)
    for phase, call in reversed(calls):
        with phase_modes.phase_mode(proof, phase):
            time_first_call(phase, call, adapter, send)
    verified = agreement.verify(proof.reference, adapter)
    for phase, call in calls:
        require_agreement(proof, phase, call)
    notes = dropout_shares.check_dropout(model, adapter, proof.request.batch_size)
    if proof.feed is not None:
        notes += (proof.feed.describe(),)
    if proof.weights:
        notes += (optimizers.describe(proof.request.optimizer),)
    send(verified._replace(notes=verified.notes + notes))


def require_agreement(proof: ProofContext, phase: str, call: Callable[[int], Any]) -> None:
    """Raise Disagreed unless the results of inference, update, step or load are right."""
    if phase in TRAINING_PHASES:
        found = check_updates(proof, phase, call)
    elif phase == "inference":
        with phase_modes.phase_mode(proof, phase):
            found = merge_findings(
                [
                    check_output(proof, expected, call(place))
                    for place, expected in zip(proof.places, proof.reference.evaluation.outputs)
                ]
            )
    elif phase in LOADING_PHASES and phase != "fed_gradient":
        with phase_modes.phase_mode(proof, phase):
            found = check_loaded(proof, call(0))
    else:
        return
    if found.outcome == FAILED:
        raise Disagreed("{}: {}".format(phase, found.reason))


def time_phase(
    phase: str, call: Callable[[int], Any], proof: ProofContext, send: Send
) -> TimedPhase:
    """Warm up, time, and prove that the timed calls did the work."""
    calls = call_timing.Calls(
        call,
        len(proof.batches),
        proof.adapter.stopwatch(),
        find_sample_unit(proof, phase),
        is_single=phase == "inference",
    )
    if isinstance(proof.adapter, GroupAdapter):
        group = proof.adapter
        calls = calls._replace(
            announce=functools.partial(group.announce, phase), finish=group.finish
        )
    with phase_modes.phase_mode(proof, phase):
        send_phase("warmup", send)
        warm = call_timing.warm_up(calls, proof.request.timing)
        send_phase(phase, send)
        taken = call_timing.take_samples(phase, calls, warm, proof.request.timing, send)
        send(taken.timed)
        send_phase("prove", send)
        timed = TimedPhase(phase, calls, taken)
        check_sequence.check_phase(proof, timed, send)
    return timed


def find_sample_unit(proof: ProofContext, phase: str) -> int:
    """Return the unit of calls in a sample (see call_timing.Calls).

    Of a loader that reads ahead, as many as it keeps ready: its pause between samples then spares
    it at most the time of one in all of a sample.
    """
    if phase in ("prefetched_load", "fed_gradient"):
        return max(1, proof.data.ahead)
    return 1 if phase in ("update", "load") else seeding.find_sample_unit(proof.model)


def follow(request: Request, send: Send) -> None:
    """Be a node's part of a group that another node leads."""
    from velodrome.adapters.groups.member import serve_node  # takes tens of ms

    serve_node(request, send)


ACTIONS = {
    "check": check_import,
    "reference": make_reference,
    "fit": fit_batch,
    "measure": measure,
    "follow": follow,
}
