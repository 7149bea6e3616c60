"""The reference: a model's loss and gradients, computed once in float64.

It holds each gradient's length and sketch (velodrome.adapters.proof.sketch), so that a model of 61
million parameters needs a few hundred kilobytes. Dropout is off. It also holds the attempts of the
examples (velodrome.adapters.proof.tie_distance), the same for every framework.
velodrome.adapters.proof.reference_file stores it.
"""

import hashlib
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy

from velodrome.adapters.contract import Batch
from velodrome.adapters.frameworks.numpy.network import OPERATIONS, Network
from velodrome.adapters.models import layers as kinds
from velodrome.adapters.models import shapes, shared_batches
from velodrome.adapters.models.layers import Model
from velodrome.adapters.proof import dropout_gradients, seeding
from velodrome.adapters.proof.batch_results import (
    BatchResult,
    compute_batches,
    split_batch,
)
from velodrome.adapters.proof.clear_draws import find_clear_draws
from velodrome.adapters.proof.error_predictor import ErrorPredictor
from velodrome.adapters.proof.phase_references import (
    EvaluationResults,
    StepResult,
    compute_evaluation,
    compute_step,
    sketch_evaluation,
)
from velodrome.adapters.protocol import USUAL_PHASES
from velodrome.adapters.tolerances import (
    PredictedErrors,
    compute_gradient_tolerance,
    compute_loss_tolerance,
    compute_output_tolerance,
)

VERSION = 4  # of the file, and of how weights and batches are drawn


class ExpectedResults(NamedTuple):
    """Expected losses of some batches; norms (batches,) and sketches per trained parameter."""

    losses: Tuple[float, ...] = ()
    norms: Dict[str, numpy.ndarray] = {}
    sketches: Dict[str, numpy.ndarray] = {}  # (batches, at most sketch.BUCKETS)


class ChangedLoss(NamedTuple):
    """The loss of the first fresh batch after parameter `name` is given its changed values."""

    name: str = ""
    loss: float = float("nan")


class Reference(NamedTuple):
    """The reference of one model; without a loss it holds neither losses nor gradients.

    losses: of every batch of one pass. norms, sketches: of the checked ones, an entry each.
    """

    model: str
    batch_size: int
    seed: int
    digest: str  # of the model's definition and VERSION
    near_ties: int  # examples without a clear attempt
    draws: numpy.ndarray  # (examples,) int64, for seeding.draw_batches and draw_fresh_batches
    checked: Tuple[int, ...]  # numbers of the batches of which each gradient is known
    losses: Tuple[float, ...]
    norms: Dict[str, numpy.ndarray]  # per trained parameter (checked,)
    sketches: Dict[str, numpy.ndarray]  # per trained parameter (checked, at most sketch.BUCKETS)
    shapes: Dict[str, Tuple[int, ...]]  # per trained parameter
    total: Dict[str, numpy.ndarray]  # sketches of all batches' gradients, added up by `signs`
    fresh: ExpectedResults  # of the fresh batches at the places of `checked`
    changed: ChangedLoss
    dropout: Optional[dropout_gradients.DropoutProfile]  # of the last batch, None without dropout
    dtype: str = "float32"  # the precision of `predicted`
    devices: int = 1  # that share each batch, if results depend on their number
    predicted: PredictedErrors = PredictedErrors()  # the largest of some batches
    evaluation: EvaluationResults = EvaluationResults()
    step: StepResult = StepResult()

    @property
    def output_tolerance(self) -> float:
        """Return the allowed error of an output of evaluation."""
        return compute_output_tolerance(self.dtype, self.evaluation.predicted)

    @property
    def loss_tolerance(self) -> float:
        return compute_loss_tolerance(self.dtype, self.predicted)

    def gradient_tolerance(self, name: str) -> float:
        """Return the allowed error of a trained parameter's gradient."""
        return compute_gradient_tolerance(self.dtype, self.predicted, name)


def compute_reference(
    model: Model,
    batch_size: int,
    seed: int,
    dtype: str = "float32",
    phases: Tuple[str, ...] = USUAL_PHASES,
    optimizer: str = "sgd",
    devices: int = 1,
) -> Reference:
    """Compute a reference; takes seconds for AlexNet. ValueError if no batch can be filled.

    dtype: of the results that it will be compared with. phases: those that it will be used for; for
    forward and gradient it is complete without being told. devices: how many share a batch.
    """
    devices = shared_batches.count_separate_devices(model, devices)
    if isinstance(model.loss, kinds.NoLoss):
        return make_blank(model, batch_size, seed, dtype)._replace(devices=devices)
    network = Network(model, seeding.draw_weights(model, seed), OPERATIONS)
    network.devices = devices
    draws, near_ties = find_clear_draws(network, batch_size, seed)
    bare = make_blank(model, batch_size, seed, dtype)._replace(
        draws=draws, near_ties=near_ties, devices=devices
    )
    batches = seeding.draw_batches(model, batch_size, seed, draws)
    filled = _fill(bare, network, batches, "inference" in phases)
    if not shapes.changes_parameters(model, phases):
        return filled
    weighed = Network(model, seeding.draw_weights(model, seed), OPERATIONS)
    weighed.devices = devices
    found = compute_step(weighed, batches, optimizer, dtype, filled.predicted)
    return filled._replace(step=found)


def make_blank(model: Model, batch_size: int, seed: int, dtype: str) -> Reference:
    """Make a reference without results: unit statistics, and each example's first attempt."""
    return Reference(
        model=model.name,
        batch_size=batch_size,
        seed=seed,
        digest=compute_digest(model),
        near_ties=0,
        draws=seeding.list_first_attempts(model, batch_size),
        checked=seeding.choose_checked_batches(model, batch_size),
        losses=(),
        norms={},
        sketches={},
        shapes={},
        total={},
        fresh=ExpectedResults(),
        changed=ChangedLoss(),
        dropout=None,
        dtype=dtype,
        evaluation=EvaluationResults(_make_unit_statistics(model)),
    )


def _make_unit_statistics(model: Model) -> Dict[str, numpy.ndarray]:
    """Make mean 0 and variance 1 of each batch normalization, keyed as in EvaluationResults."""
    reads, found = shapes.list_inputs(model), shapes.compute_output_shapes(model)
    statistics: Dict[str, numpy.ndarray] = {}
    for layer in model.layers:
        if isinstance(layer, kinds.BatchNorm):
            channels = found[reads[layer.name][0]][:1]
            statistics["{}.mean".format(layer.name)] = numpy.zeros(channels, numpy.float32)
            statistics["{}.variance".format(layer.name)] = numpy.ones(channels, numpy.float32)
    return statistics


def _fill(
    bare: Reference,
    network: Network,
    batches: Tuple[Batch, ...],
    evaluates: bool,  # noqa: FBT001
) -> Reference:
    model, checked = network.model, bare.checked
    fresh = seeding.draw_fresh_batches(model, bare.batch_size, bare.seed, bare.draws)
    others = tuple(fresh[number] for number in checked)
    every = batches + others
    judged = checked + tuple(range(len(batches), len(every)))
    predictor = ErrorPredictor(network, bare.dtype, bare.seed, every, judged)
    found = compute_batches(network, every, predictor.numbers, predictor.observe)
    own, new = found[: len(batches)], found[len(batches) :]
    expected = collect_results([own[number] for number in checked])
    total = _sum_sketches(own, bare.seed) if len(own) > len(checked) else {}
    predicted = predictor.summarize(found, total, len(own))
    timed = tuple(batches[number] for number in checked)
    evaluation = EvaluationResults()
    if evaluates:
        evaluation = compute_evaluation(network, timed, others, bare.seed, bare.dtype)
    filled = bare._replace(
        losses=tuple(result.loss for result in own),
        norms=expected.norms,
        sketches=expected.sketches,
        shapes={entry.name: entry.shape for entry in shapes.list_trained(model)},
        total=total,
        fresh=collect_results(new),
        dropout=_compute_dropout(network, batches[-1], bare.seed),
        predicted=predicted,
        evaluation=evaluation,
        changed=_compute_changed_loss(network, others[0], bare.seed),
    )
    if not evaluates:
        return filled
    changed = sketch_evaluation(network, others[0], evaluation.statistics)
    return filled._replace(evaluation=evaluation._replace(changed=changed))


def draw_signs(batches: int, seed: int) -> numpy.ndarray:
    """Draw (batches,) of +1 and -1, by which gradients are summed, so that no two errors cancel."""
    return 2.0 * seeding.make_stream(seed, "batches").randint(0, 2, size=batches) - 1.0


def choose_changed_parameter(
    model: Model, seed: int, known: Optional[Dict[str, Tuple[int, ...]]] = None
) -> Optional[Tuple[str, numpy.ndarray]]:
    """Choose a trained parameter near the loss and new float32 values for it; None without one.

    A vector if there is one: its layout in memory is the same in every framework. known: shapes by
    name, of code, whose data lists no parameter.
    """
    trained = shapes.list_trained(model)
    if isinstance(model.input, kinds.Code):
        trained = tuple(
            shapes.Parameter(name, "", "bias", shape, 1, frozen=False)
            for name, shape in (known or {}).items()
        )
    if not trained:
        return None
    entry = ([entry for entry in trained if len(entry.shape) == 1] or list(trained))[-1]
    return entry.name, seeding.draw_values(entry, seed, "changed")


def collect_results(found: Sequence[BatchResult]) -> ExpectedResults:
    """Collect the results of some batches, an entry each in their order."""
    return ExpectedResults(
        tuple(each.loss for each in found),
        {name: numpy.array([each.norms[name] for each in found]) for name in found[0].norms},
        {name: numpy.stack([each.sketches[name] for each in found]) for name in found[0].sketches},
    )


def _sum_sketches(found: List[BatchResult], seed: int) -> Dict[str, numpy.ndarray]:
    added = draw_signs(len(found), seed)
    return {
        name: sum(sign * result.sketches[name] for sign, result in zip(added, found))
        for name in found[0].sketches
    }


def _compute_dropout(
    network: Network, batch: Batch, seed: int
) -> Optional[dropout_gradients.DropoutProfile]:
    if not dropout_gradients.list_parameters_behind(network.model):
        return None
    return dropout_gradients.compute_profile(network, tuple(split_batch(network, batch)), seed)


def _compute_changed_loss(network: Network, batch: Batch, seed: int) -> ChangedLoss:
    """Compute the changed loss. The network keeps the changed values and is not used again."""
    found = choose_changed_parameter(network.model, seed)
    if found is None:
        return ChangedLoss()
    network.put(*found)
    total = float(len(batch.inputs))
    parts = split_batch(network, batch)
    loss = sum(len(part.inputs) / total * network.forward(part).loss for part in parts)
    return ChangedLoss(found[0], loss)


def compute_digest(model: Model) -> str:
    """Return a hash that is equal only for models that are defined and drawn alike."""
    return hashlib.sha256("{} {!r}".format(VERSION, model).encode()).hexdigest()


def is_reference_of(
    reference: Reference, model: Model, batch_size: int, seed: int, dtype: str, devices: int = 1
) -> bool:
    """Return True if a stored reference is still valid for this model."""
    own = (reference.digest, reference.batch_size, reference.seed, reference.dtype)
    if reference.devices != shared_batches.count_separate_devices(model, devices):
        return False
    return own == (compute_digest(model), batch_size, seed, dtype)


def has_phases(reference: Reference, model: Model, phases: Tuple[str, ...], optimizer: str) -> bool:
    """Return True if the reference holds the results of these phases."""
    own = shapes.list_timed_phases(model, phases)
    if "inference" in own and not len(reference.evaluation.outputs):
        return False
    return not shapes.changes_parameters(model, phases) or reference.step.optimizer == optimizer
