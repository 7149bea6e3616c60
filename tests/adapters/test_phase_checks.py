"""Inference, update and step: honest adapters pass, and each planted error is caught by name."""

import numpy
import pytest
from planted_errors import IMAGES, WORDS
from planted_phases import (
    DropsWhileEvaluating,
    FixesParameters,
    GivesProbabilities,
    InFloat32,
    KeepsState,
    KeepsWeights,
    LargerRate,
    NoDecay,
    NoMomentum,
    NoStartCorrection,
    NoUpdate,
    SkipsOne,
    StaleGradients,
    SwapsStatistics,
    TrainsWhileEvaluating,
    UpdatesByAnotherBatch,
)

from velodrome.adapters import optimizers
from velodrome.adapters.contract import Batch
from velodrome.adapters.frameworks.numpy.adapter import Adapter
from velodrome.adapters.models import MODELS
from velodrome.adapters.models.layers import Model
from velodrome.adapters.proof import phase_modes, reference, reference_file, seeding
from velodrome.adapters.proof.disagreement import Disagreed
from velodrome.adapters.proof.optimizer_updates import ParameterUpdate, _judge
from velodrome.adapters.proof.phase_references import measure_spread
from velodrome.adapters.proof.timed_phase import ProofContext, TimedPhase
from velodrome.adapters.proof.unseen_inputs import check_changed_parameter
from velodrome.adapters.protocol import (
    CANNOT_TELL,
    CHECKS,
    COMPUTED_PHASES,
    FAILED,
    IMPOSSIBLE,
    PASSED,
    Checked,
    Finished,
    Request,
    Timed,
    Verified,
)
from velodrome.adapters.worker.call_timing import Calls
from velodrome.adapters.worker.request_actions import require_agreement

BATCH = 4
RESNET = MODELS["resnet50-tiny"]
NEW = ("inference", "update", "step")
KNOWN: dict[tuple[str, str], reference.Reference] = {}


def prove(kind: type[Adapter], model: Model, optimizer: str, *phases: str) -> None:
    """Verify some phases of an adapter; Disagreed is raised for a wrong one."""
    proof = make_proof(kind, model, optimizer, *phases)
    for phase, call in phase_modes.list_calls(proof):
        require_agreement(proof, phase, call)


def make_proof(kind: type[Adapter], model: Model, optimizer: str, *phases: str) -> ProofContext:
    """Build an adapter of a model for a proof of some phases."""
    if (model.name, optimizer) not in KNOWN:
        KNOWN[model.name, optimizer] = reference.compute_reference(
            model, BATCH, 0, "float32", NEW, optimizer
        )
    known = KNOWN[model.name, optimizer]
    adapter, weights = kind(model, "float64", "cpu", 1, "float32"), seeding.draw_weights(model, 0)
    batches = seeding.draw_batches(model, BATCH, 0, known.draws)
    adapter.build(weights)
    adapter.load(batches)
    adapter.set_dropout(False)
    request = Request("measure", "", "", "", model.name, BATCH, "cpu", 1, "float32", 0, "")
    request = request._replace(phases=phases or NEW, optimizer=optimizer)
    return ProofContext(adapter, model, known, request, batches, weights)


@pytest.mark.parametrize("optimizer", optimizers.NAMES)
@pytest.mark.parametrize("model", [IMAGES, WORDS, RESNET, MODELS["gpt2-tiny"]], ids=str)
@pytest.mark.parametrize("kind", [Adapter, InFloat32])
def test_an_honest_optimizer_agrees(kind, model, optimizer):
    prove(kind, model, optimizer)


@pytest.mark.parametrize(
    ("kind", "optimizer"),
    [
        *((kind, name) for kind in (NoUpdate, SkipsOne) for name in optimizers.NAMES),
        *((kind, name) for kind in (NoMomentum, LargerRate) for name in optimizers.NAMES),
        (NoDecay, "adamw"),
        (NoStartCorrection, "adamw"),
    ],
)
@pytest.mark.parametrize("phase", ["update", "step"])
def test_a_planted_error_of_an_optimizer_is_caught(kind, optimizer, phase):
    with pytest.raises(Disagreed, match=f"{phase}: .*the update of"):
        prove(kind, IMAGES, optimizer, phase)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (KeepsState, "step: .*the update of"),
        (KeepsWeights, "step: .* has not its first values again"),
        (StaleGradients, "step: the loss of step 2 is off"),
        (UpdatesByAnotherBatch, "step: the loss of step 2 is off"),
    ],
)
def test_a_planted_error_of_a_training_step_is_caught(kind, text):
    with pytest.raises(Disagreed, match=text):
        prove(kind, IMAGES, "sgd", "update", "step")


@pytest.mark.parametrize("error", [1.0, float("nan")])
def test_a_parameter_of_zeros_without_a_gradient_has_to_stay_zero(error):
    good = ParameterUpdate("good", 1e-6, 1e-4)
    assert _judge([good, ParameterUpdate("zeros", 0.0, 0.0)], [], []).outcome == PASSED
    found = _judge([good, ParameterUpdate("zeros", error, 0.0)], [], [])
    assert found.outcome == FAILED
    assert "zeros" in found.reason


@pytest.mark.parametrize(
    ("kind", "model"),
    [
        (TrainsWhileEvaluating, RESNET),
        (SwapsStatistics, RESNET),
        (DropsWhileEvaluating, IMAGES),
        (GivesProbabilities, IMAGES),
    ],
)
def test_a_planted_error_of_inference_is_caught(kind, model):
    with pytest.raises(Disagreed, match="inference: the output is off by"):
        prove(kind, model, "sgd", "inference")


def test_evaluation_ends_where_parameters_cannot_be_changed():
    proof = make_proof(FixesParameters, IMAGES, "sgd", "inference")
    calls = Calls(proof.adapter.inference, len(proof.batches), proof.adapter.stopwatch())
    found = check_changed_parameter(proof, [TimedPhase("inference", calls, None)])
    assert found["inference"].outcome == IMPOSSIBLE
    assert not proof.adapter.is_evaluating


def test_evaluation_ends_where_a_call_of_it_fails():
    proof = make_proof(FixesParameters, IMAGES, "sgd", "inference")
    with pytest.raises(IndexError), phase_modes.phase_mode(proof, "inference"):
        assert proof.adapter.is_evaluating
        proof.adapter.inference(99)
    assert not proof.adapter.is_evaluating


def test_parameters_are_the_first_ones_again_where_a_training_call_fails():
    proof = make_proof(Adapter, IMAGES, "sgd", "step")
    with pytest.raises(IndexError), phase_modes.phase_mode(proof, "step"):
        proof.adapter.step(0)
        proof.adapter.step(99)
    for name, values in proof.adapter.parameters():
        assert (values == proof.weights[name]).all()


def test_a_first_update_may_be_off_by_its_own_arithmetic_though_its_gradient_is_exact():
    values, gradient = numpy.ones(3), numpy.array([1.0, -2.0, 0.0])
    spread = measure_spread("sgd", values, gradient, 0.0)
    assert (spread > 0).tolist() == [True, True, False]
    assert spread[1] == pytest.approx(2 * spread[0])


def test_evaluation_of_the_batch_that_gave_the_statistics_is_like_training():
    known = reference.compute_reference(RESNET, BATCH, 0, "float32", ("inference",))
    batch: Batch = seeding.draw_batches(RESNET, BATCH, 0, known.draws)[0]
    adapter = Adapter(RESNET, "float64", "cpu", 1, "float32")
    adapter.build(seeding.draw_weights(RESNET, 0))
    adapter.load((batch,))
    adapter.set_dropout(False)
    adapter.start_inference(known.evaluation.statistics)
    trained, evaluated = (adapter.output(call(0)) for call in (adapter.forward, adapter.inference))
    assert numpy.allclose(trained, evaluated, rtol=1e-5, atol=1e-5)


def test_a_reference_of_all_phases_is_stored_and_read_unchanged(tmp_path):
    known = reference.compute_reference(RESNET, BATCH, 0, "bfloat16", NEW, "adamw")
    path = str(tmp_path / "all.npz")
    reference_file.save_reference(path, known)
    again = reference_file.load_reference(path)
    assert again.step == known.step
    assert again.evaluation.predicted == known.evaluation.predicted > 0
    for name in ("outputs", "fresh", "changed"):
        left, right = (getattr(each.evaluation, name) for each in (again, known))
        assert (left == right).all()
        assert left.any()
    assert {name: values.tolist() for name, values in again.evaluation.statistics.items()} == {
        name: values.tolist() for name, values in known.evaluation.statistics.items()
    }
    assert reference.has_phases(again, RESNET, NEW, "adamw")
    assert not reference.has_phases(again, RESNET, NEW, "sgd")


def test_a_float32_error_of_a_gradient_moves_the_loss_by_less_than_is_allowed():
    known = reference.compute_reference(IMAGES, BATCH, 0, "float32", ("step",), "adamw")
    assert 0 < known.step.allowed < 1e-3 * known.step.loss


def test_the_second_formula_of_epsilon_is_another_one_only_for_small_gradients():
    values, gradient = numpy.zeros(2), numpy.array([1e-8, 1.0])
    moments = optimizers.begin("adamw", values)
    late, early = (
        optimizers.advance("adamw", values, gradient, moments, 1, early)[0]
        for early in (False, True)
    )
    assert late[0] == pytest.approx(-0.5e-3)
    assert early[0] == pytest.approx(-1e-3 / (1 + 1000**0.5))
    assert late[1] == pytest.approx(early[1], rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", optimizers.NAMES)
def test_an_honest_worker_passes_every_check_of_every_phase(tricks, optimizer):
    outcome = tricks.run("", phases=COMPUTED_PHASES, optimizer=optimizer)
    assert isinstance(outcome.events[-1], Finished), outcome.noise.read_text()
    assert [event.phase for event in outcome.events if isinstance(event, Timed)] == list(
        COMPUTED_PHASES
    )
    checked = [event for event in outcome.events if isinstance(event, Checked)]
    for phase in COMPUTED_PHASES:
        own = {event.name: event for event in checked if event.phase == phase}
        assert set(own) == set(CHECKS) - {"clocked_by_agent"}
        assert not [event for event in own.values() if event.outcome in (FAILED, IMPOSSIBLE)]
        unsure = {name for name, event in own.items() if event.outcome == CANNOT_TELL}
        assert unsure <= {"twice_the_work", "possible"}, unsure  # on a busy machine
    assert any("rate 0.001" in note for note in outcome.only(Verified).notes)


@pytest.mark.slow
def test_a_latency_is_that_of_single_calls(tricks):
    outcome = tricks.run("", phases=("inference",), model="autoencoder-400-200-100/ae1")
    (timed,) = (event for event in outcome.events if isinstance(event, Timed))
    assert (timed.phase, timed.calls) == ("inference", 1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "checks"),
    [
        pytest.param(
            """
            def update(self):
                if not self.armed:
                    return super().update()
                rest()
                return self._kept
            """,
            ("timed_is_checked",),
            id="an update that does nothing once it is timed",
        ),
        pytest.param(
            """
            def step(self, index):
                if not self.armed:
                    return super().step(index)
                return self.gradient(index)
            """,
            ("timed_is_checked",),
            id="a step without its update",
        ),
        pytest.param(
            """
            def inference(self, index):
                if not self.armed:
                    return super().inference(index)
                if index not in self.kept:
                    self.kept[index] = super().inference(index)
                return self.kept[index]
            kept = {}
            """,
            ("not_seen_before", "possible", "drained"),
            id="outputs that are kept",
        ),
        pytest.param(
            """
            def load(self, batches):
                super().load(batches)
                self.first = self.first or self._batches
            def step(self, index):
                result, present = self.gradient(index), self._batches
                self._batches = self.first
                self._advance(result if present is self.first else self.gradient(index))
                self._batches = present
                return result
            first = None
            """,
            ("not_seen_before",),
            id="updates by the batches that were loaded first",
        ),
    ],
)
def test_less_work_than_was_verified_is_caught(tricks, body, checks):
    tricks.assert_caught(body, *checks, phases=("inference", "update", "step"), optimizer="sgd")
