"""The reference of user's code: the same code in float64, in the same framework, on the CPU.

It proves that the timed calls compute what the code says, in the precision that the task asks for;
not that the code is right: velodrome.adapters.proof.reference has an independent implementation.

Rounding errors are predicted as for Velodrome's models: the code runs again with rounded products.
In float32 a product's result is off by about 0.3 sqrt(n) 2^-24 of its root mean square, n being the
products in one sum (velodrome.adapters.proof.tie_distance).
"""

import contextlib
import math
from typing import Dict, Iterator, Tuple

import numpy

from velodrome.adapters import optimizers
from velodrome.adapters.contract import Unsupported
from velodrome.adapters.models import shapes as shapes_of
from velodrome.adapters.models.layers import Model
from velodrome.adapters.own_code.adapter import CodeAdapter
from velodrome.adapters.proof import reference, seeding, tie_distance
from velodrome.adapters.proof.batch_results import BatchResult
from velodrome.adapters.proof.phase_references import (
    OUTPUT,
    EvaluationResults,
    StepResult,
    sum_loss_spread,
)
from velodrome.adapters.proof.reference import ChangedLoss, Reference
from velodrome.adapters.proof.relative_errors import compute_relative_error, measure_distance
from velodrome.adapters.proof.sketch import compute_sketch
from velodrome.adapters.protocol import USUAL_PHASES
from velodrome.adapters.tolerances import JUMP, PredictedErrors

REPEATABLE = 1e-9  # relative: two float64 calls on one batch differ by less, unless one is random
PERTURBATION = 2.0**-23  # of each parameter, where a framework cannot round products


def compute_code_reference(
    adapter: CodeAdapter,
    model: Model,
    batch_size: int,
    seed: int,
    dtype: str,
    optimizer: str = "",
    phases: Tuple[str, ...] = USUAL_PHASES,
) -> Reference:
    """Compute a reference by an adapter in float64. dtype: of the results compared with it.

    optimizer: of the phases update and step; empty without them. phases: those that it will be used
    for. CodeFailed if the code fails, Unsupported if it is random or the dtype cannot be proven.
    """
    batches = seeding.draw_batches(model, batch_size, seed)
    checked = seeding.choose_checked_batches(model, batch_size)
    adapter.build(seeding.draw_weights(model, seed))
    adapter.load(batches + seeding.draw_fresh_batches(model, batch_size, seed))
    own = [_run(adapter, number) for number in range(len(batches))]
    new = [_run(adapter, len(batches) + number) for number in checked]
    shapes = {name: tuple(values.shape) for name, values in adapter.parameters()}
    _require_repeatable(adapter, own[0].loss)
    _require_gradients(adapter, own[0], shapes)
    expected = reference.collect_results([own[number] for number in checked])
    bare = reference.make_blank(model, batch_size, seed, dtype)._replace(
        losses=tuple(result.loss for result in own),
        norms=expected.norms,
        sketches=expected.sketches,
        shapes=shapes,
        fresh=reference.collect_results(new),
    )
    bare = bare._replace(predicted=_predict_errors(adapter, model, bare))
    if optimizer:
        bare = bare._replace(step=_compute_step(adapter, bare, optimizer))
    if "inference" in shapes_of.list_timed_phases(model, phases):
        bare = bare._replace(evaluation=_evaluate(adapter, model, bare, len(batches)))
    return bare._replace(changed=_compute_changed_loss(adapter, model, bare, len(batches)))


def _run(adapter: CodeAdapter, index: int) -> BatchResult:
    handle = adapter.gradient(index)
    loss = adapter.loss(handle)
    if not math.isfinite(loss):
        code, problem = adapter.code, "the loss is {} in float64".format(loss)
        raise code.reject(code.forward or code.make, problem, "Correct the module or the batch")
    norms, sketches = {}, {}
    for name, gradient in adapter.gradients(handle):
        norms[name] = float(numpy.linalg.norm(gradient))
        sketches[name] = compute_sketch(name, gradient)
    return BatchResult(loss, norms, sketches)


def _require_repeatable(adapter: CodeAdapter, loss: float) -> None:
    """Raise Unsupported if forward is random, or keeps something from one call to the next."""
    again = adapter.loss(adapter.forward(0))
    if not compute_relative_error(again, loss) <= REPEATABLE:
        code = adapter.code
        text = "{}: two calls on one batch gave the losses {:.9g} and {:.9g}. {}"
        mend = "Turn dropout and other random operations off in make(): their rates to 0"
        raise Unsupported(text.format(code.locate(code.make), loss, again, mend))


def _require_gradients(
    adapter: CodeAdapter, result: BatchResult, shapes: Dict[str, Tuple[int, ...]]
) -> None:
    """Raise CodeFailed unless the gradients are those of the trained parameters."""
    code = adapter.code
    place = code.gradient or code.forward or code.make
    if not shapes:
        raise code.reject(code.make, "no parameter is trained", "Let some require a gradient")
    unknown = sorted(set(result.norms) - set(shapes))
    missing = sorted(set(shapes) - set(result.norms))
    if unknown:
        problem = "there is a gradient of {!r}, which is no trained parameter".format(unknown[0])
        raise code.reject(place, problem, "Known: " + ", ".join(sorted(shapes)[:5]))
    if missing:
        problem = "there is no gradient of {!r}".format(missing[0])
        raise code.reject(place, problem, "Return one for each trained parameter")


def _predict_errors(adapter: CodeAdapter, model: Model, bare: Reference) -> PredictedErrors:
    """Predict the errors of rounding in the reference's dtype, by its first checked batch."""
    expected = {name: values[0] for name, values in bare.sketches.items()}
    try:
        with adapter.round_products(bare.dtype) as found:
            rounded = _run(adapter, bare.checked[0])
        may_jump = found.may_jump
    except Unsupported:
        if bare.dtype != "float32":
            raise
        rounded, may_jump = _run_perturbed(adapter, bare), False
    errors = {name: measure_distance(rounded.sketches[name], own) for name, own in expected.items()}
    if may_jump and bare.dtype != "float32":  # as velodrome.adapters.proof.prediction covers jumps
        errors = dict.fromkeys(errors, max([JUMP, *errors.values()]))
    tokens = getattr(model.input, "tokens", 0)
    least = tie_distance.PER_ROOT_PRODUCT * math.sqrt(bare.batch_size * max(1, tokens))
    loss = max(least, compute_relative_error(rounded.loss, bare.losses[bare.checked[0]]))
    return PredictedErrors(loss, errors, bare.shapes)


def _run_perturbed(adapter: CodeAdapter, bare: Reference) -> BatchResult:
    """Run the first checked batch with parameters that are slightly off."""
    with _perturbed_parameters(adapter, bare):
        return _run(adapter, bare.checked[0])


@contextlib.contextmanager
def _perturbed_parameters(adapter: CodeAdapter, bare: Reference) -> Iterator[None]:
    """Let parameters be slightly off within the context, and restore them."""
    own = dict(adapter.parameters())
    for name, values in own.items():
        draw = seeding.make_stream(bare.seed, "perturbed", name)
        off = 1.0 + PERTURBATION * draw.uniform(-1.0, 1.0, values.shape)
        adapter.set_parameter(name, values * off)
    yield
    for name, values in own.items():
        adapter.set_parameter(name, values)


def _compute_step(adapter: CodeAdapter, bare: Reference, optimizer: str) -> StepResult:
    """Take one step on batch 0, as velodrome.adapters.proof.phase_references, and undo it."""
    before, gradients = dict(adapter.parameters()), _read_gradients(adapter, 0)[1]
    for name, gradient in gradients.items():
        adapter.set_parameter(name, optimizers.advance_first(optimizer, before[name], gradient))
    loss, slopes = _read_gradients(adapter, 1 % len(bare.losses))
    for name, values in before.items():
        adapter.set_parameter(name, values)
    tolerances = {name: bare.gradient_tolerance(name) for name in gradients}
    allowed = sum_loss_spread(optimizer, before, gradients, slopes, tolerances)
    return StepResult(optimizer, loss, allowed)


def _evaluate(adapter: CodeAdapter, model: Model, bare: Reference, fresh: int) -> EvaluationResults:
    """Evaluate the checked batches and the fresh ones, which begin at number `fresh`."""
    # Before any other call on that batch: code that keeps its outputs would keep them here, too.
    changed = _evaluate_changed(adapter, model, bare, fresh + bare.checked[0])
    with _evaluation_mode(adapter):
        outputs = [_sketch_output(adapter, number) for number in bare.checked]
        others = [_sketch_output(adapter, fresh + number) for number in bare.checked]
        again = _sketch_output(adapter, bare.checked[0])
        if not measure_distance(again, outputs[0]) <= REPEATABLE:
            code = adapter.code
            text = "{}: two calls on one batch gave different outputs. {}"
            mend = "Turn random operations off in evaluation mode, and keep nothing between calls"
            raise Unsupported(text.format(code.locate(code.inference), mend))
        try:
            with adapter.round_products(bare.dtype):
                rounded = _sketch_output(adapter, bare.checked[0])
        except Unsupported:  # of float32 alone, see _predict_errors
            with _perturbed_parameters(adapter, bare):
                rounded = _sketch_output(adapter, bare.checked[0])
        predicted = measure_distance(rounded, outputs[0])
    return EvaluationResults({}, numpy.stack(outputs), numpy.stack(others), changed, predicted)


def _evaluate_changed(
    adapter: CodeAdapter, model: Model, bare: Reference, index: int
) -> numpy.ndarray:
    """Return the sketch of a batch's output after a parameter is changed, and restore that."""
    changed = reference.choose_changed_parameter(model, bare.seed, bare.shapes)
    if changed is None:
        return numpy.zeros(0)
    name, values = changed
    before = dict(adapter.parameters())[name]
    adapter.set_parameter(name, values)
    with _evaluation_mode(adapter):
        sketch = _sketch_output(adapter, index)
    adapter.set_parameter(name, before)
    return sketch


@contextlib.contextmanager
def _evaluation_mode(adapter: CodeAdapter) -> Iterator[None]:
    adapter.start_inference({})
    try:
        yield
    finally:
        adapter.end_inference()


def _sketch_output(adapter: CodeAdapter, index: int) -> numpy.ndarray:
    """Return the sketch of a batch's output. CodeFailed if a value is not finite."""
    output = adapter.output(adapter.inference(index))
    if not numpy.isfinite(output).all():
        code, problem = adapter.code, "the output of inference() is not finite in float64"
        raise code.reject(code.inference, problem, "Correct the module or the batch")
    return compute_sketch(OUTPUT, output)


def _read_gradients(adapter: CodeAdapter, index: int) -> Tuple[float, Dict[str, numpy.ndarray]]:
    handle = adapter.gradient(index)
    found = {name: numpy.array(gradient) for name, gradient in adapter.gradients(handle)}
    return adapter.loss(handle), found


def _compute_changed_loss(
    adapter: CodeAdapter, model: Model, bare: Reference, fresh: int
) -> ChangedLoss:
    """Compute the changed loss on the batch number `fresh`. The adapter is not used again."""
    changed = reference.choose_changed_parameter(model, bare.seed, bare.shapes)
    if changed is None:
        return ChangedLoss()
    adapter.set_parameter(*changed)
    return ChangedLoss(changed[0], adapter.loss(adapter.forward(fresh)))
