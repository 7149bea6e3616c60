"""Inference, update and step in TensorFlow, in each variant and precision."""

from pathlib import Path

import pytest

pytestmark = [pytest.mark.framework, pytest.mark.slow]

SMALL = "lenet,resnet50-tiny,gpt2-tiny,probe-lstm"
RESTART = Path(__file__).with_name("restart_run.py")


@pytest.fixture(scope="module")
def bench(workers_of):
    return workers_of("tensorflow", TF_CPP_MIN_LOG_LEVEL="2")


def test_small_models_agree_in_every_phase_with_the_optimizers_of_keras(bench):
    outcomes = bench.verifies_phases(SMALL, variants="graph")
    for optimizer, own in (("sgd", "keras.optimizers.SGD"), ("adamw", "keras.optimizers.AdamW")):
        for _, _, notes in outcomes["graph"]["float32"][optimizer].values():
            assert own in " ".join(notes)


def test_uncompiled_calls_agree_in_every_phase(bench):
    bench.verifies_phases("lenet,probe-lstm", variants="eager", optimizers="adamw")


def test_a_lower_precision_agrees_in_every_phase(bench):
    bench.verifies_phases("probe-lstm", dtypes="bfloat16,float16", optimizers="sgd")


@pytest.mark.full
def test_xla_agrees_in_every_phase(bench):
    bench.verifies_phases("lenet,gpt2-tiny", variants="xla", optimizers="adamw")


@pytest.mark.parametrize(
    ("model", "optimizer", "dtype"),
    [
        ("gpt2-tiny", "adamw", "float32"),
        ("probe-dropout", "sgd", "float32"),
        pytest.param("resnet50-tiny", "sgd", "bfloat16", marks=pytest.mark.full),
    ],
)
def test_a_timed_model_passes_every_check_of_every_phase(bench, model, optimizer, dtype):
    bench.times_every_phase(model, optimizer=optimizer, dtype=dtype)


# XLA compiles a step for each of two lengths in the first training, and takes none for it: else the
# second training would end elsewhere.
@pytest.mark.parametrize(
    ("variant", "model"),
    [
        ("graph", "lenet"),
        pytest.param("eager", "lenet", marks=pytest.mark.full),
        pytest.param("xla", "lstm", marks=pytest.mark.full),
    ],
)
def test_a_second_training_takes_the_same_steps_and_traces_nothing(bench, variant, model):
    found = bench.run_script(str(RESTART), bench.framework.adapter, variant, model, "adamw")
    assert (found["same"], found["moved"], found["kept"]) == (True, True, True)
    before, after = found["counted"]
    assert before == after
    assert len(before) == (0 if variant == "eager" else 2)
