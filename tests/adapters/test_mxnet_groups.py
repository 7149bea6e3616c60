"""MXNet on several contexts of one process: divided batches, the kvstore, planted errors."""

from pathlib import Path

import pytest

pytestmark = [pytest.mark.framework, pytest.mark.full, pytest.mark.slow]

GROUPS = str(Path(__file__).with_name("group_run.py"))
ADAPTER = "velodrome.adapters.frameworks.mxnet.adapter"


@pytest.fixture(scope="module")
def bench(workers_of):
    return workers_of("mxnet")


def test_two_contexts_agree_with_the_whole_batch_in_every_phase(bench):
    models = "lenet,bert-base-tiny,resnet50-tiny,probe-lstm,probe-dropout"
    words = (f"--models={models}", "--variants=threaded,hybrid")
    found = bench.run_script(GROUPS, ADAPTER, *words)[ADAPTER]
    outcomes = found["threaded"]["float32"]
    assert list(outcomes) == models.split(",")
    for model, (status, text, notes) in outcomes.items():
        assert status == "agreed", (model, text)
        assert any(note.startswith("data parallel on 2 contexts") for note in notes)
    for status, text, _ in found["hybrid"]["float32"].values():
        assert status == "unsupported"
        assert "Use the variant threaded" in text


def test_planted_errors_of_the_reduction_are_found(bench):
    faults = {
        "LeftOut": "gradients are off",
        "Summed": "gradients are off",
        "Apart": "of device 1 is not that of device 0",
    }
    bench.finds_faulty_reductions("mxnet_reductions", "threaded", faults)


def test_a_timed_model_passes_every_check_on_two_contexts(bench):
    bench.agrees("lenet", variant="threaded", batch_size=8, devices=2)
