"""Inference, update and step in JAX, compiled and not, in each precision."""

from pathlib import Path

import pytest

pytestmark = [pytest.mark.framework, pytest.mark.full, pytest.mark.slow]

SMALL = "lenet,resnet50-tiny,gpt2-tiny,probe-lstm"
RESTART = Path(__file__).with_name("restart_run.py")


@pytest.fixture(scope="module")
def bench(workers_of):
    return workers_of("jax", NPROC="1")


def test_small_models_agree_in_every_phase(bench):
    outcomes = bench.verifies_phases(SMALL, variants="jit")
    for optimizer, kind in (("sgd", "Sgd"), ("adamw", "AdamW")):
        for _, _, notes in outcomes["jit"]["float32"][optimizer].values():
            assert f"composed: {kind} of jax.numpy" in " ".join(notes)


def test_uncompiled_calls_agree_in_every_phase(bench):
    bench.verifies_phases("lenet,probe-lstm", variants="eager", optimizers="adamw")


def test_a_lower_precision_agrees_in_every_phase(bench):
    bench.verifies_phases("probe-lstm", dtypes="bfloat16,float16", optimizers="sgd")


@pytest.mark.parametrize(
    ("model", "optimizer", "dtype"),
    [
        ("gpt2-tiny", "adamw", "float32"),
        ("probe-dropout", "sgd", "float32"),
        ("resnet50-tiny", "sgd", "bfloat16"),
    ],
)
def test_a_timed_model_passes_every_check_of_every_phase(bench, model, optimizer, dtype):
    bench.times_every_phase(model, optimizer=optimizer, dtype=dtype)


@pytest.mark.parametrize("variant", ["jit", "eager"])
def test_a_second_training_takes_the_same_steps_and_compiles_nothing(bench, variant):
    found = bench.run_script(str(RESTART), bench.framework.adapter, variant, "probe-lstm", "adamw")
    assert (found["same"], found["moved"], found["kept"]) == (True, True, True)
    before, after = found["counted"]
    assert before
    assert before == after
