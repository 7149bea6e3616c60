"""Inference, update and step in PyTorch, in each variant and precision."""

import pytest

from velodrome.adapters.protocol import COMPUTED_PHASES, FirstCall

pytestmark = [pytest.mark.framework, pytest.mark.slow]

SMALL = "lenet,resnet50-tiny,gpt2-tiny,probe-lstm"


@pytest.fixture(scope="module")
def bench(workers_of, request):
    """Keep compiled code beside pytest's own cache: later runs take a fifth of the time."""
    return workers_of("torch", TORCHINDUCTOR_CACHE_DIR=str(request.config.cache.mkdir("inductor")))


def test_small_models_agree_in_every_phase(bench):
    outcomes = bench.verifies_phases(
        SMALL, variants="eager,channels_last", dtypes="float32,bfloat16"
    )
    for found in outcomes["eager"]["float32"].values():
        for _, _, notes in found.values():
            assert any("optimizer" in note for note in notes)


@pytest.mark.full
def test_compiled_code_agrees_in_every_phase(bench):
    outcomes = bench.verifies_phases("lenet", variants="compile", optimizers="sgd")
    ((_, _, notes),) = outcomes["compile"]["float32"]["sgd"].values()
    assert any(note.endswith("backward pass of a step are compiled") for note in notes)


@pytest.mark.parametrize(
    ("model", "optimizer", "dtype"),
    [("gpt2-tiny", "adamw", "float32"), ("resnet50-tiny", "sgd", "bfloat16")],
)
def test_a_timed_model_passes_every_check_of_every_phase(bench, model, optimizer, dtype):
    events = bench.times_every_phase(model, optimizer=optimizer, dtype=dtype)
    assert {event.phase for event in events if isinstance(event, FirstCall)} == set(COMPUTED_PHASES)
