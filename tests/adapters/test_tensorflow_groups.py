"""TensorFlow on several devices of one process: divided batches, all-reduce, planted errors."""

from pathlib import Path

import pytest

pytestmark = [pytest.mark.framework, pytest.mark.slow]

GROUPS = str(Path(__file__).with_name("group_run.py"))
ADAPTER = "velodrome.adapters.frameworks.tensorflow.adapter"


@pytest.fixture(scope="module")
def bench(workers_of):
    return workers_of("tensorflow", TF_CPP_MIN_LOG_LEVEL="2")


def agree(bench, variant, models):
    """Assert that all models agree in every phase, and not in eager; return the notes of each."""
    words = (f"--models={models}", f"--variants={variant},eager")
    found = bench.run_script(GROUPS, ADAPTER, *words)[ADAPTER]
    for status, text, _ in found["eager"]["float32"].values():
        assert status == "unsupported"
        assert "Use the variant graph or xla" in text
    outcomes = found[variant]["float32"]
    assert list(outcomes) == models.split(",")
    for model, (status, text, _) in outcomes.items():
        assert status == "agreed", (model, text)
    return [notes for _, _, notes in outcomes.values()]


def test_two_devices_agree_with_the_whole_batch_in_every_phase(bench):
    for notes in agree(bench, "graph", "lenet,probe-lstm"):
        assert any(
            "2 devices of one process, by tf.distribute.MirroredStrategy" in n for n in notes
        )


@pytest.mark.full
def test_attention_and_batch_normalization_are_those_of_each_device(bench):
    agree(bench, "graph", "gpt2-tiny,resnet50-tiny")


@pytest.mark.full
def test_parts_that_xla_compiles_agree_in_every_phase(bench):
    for notes in agree(bench, "xla", "lenet,probe-dropout"):
        assert any("XLA compiles each device's part" in note for note in notes)


def test_planted_errors_of_division_and_all_reduce_are_found(bench):
    faults = {
        "LeftOut": "gradients are off",
        "Summed": "gradients are off",
        "Lower": "gradients are off",
        "Apart": "of device 1 is not that of device 0",
        "Stale": "loss is off",
    }
    bench.finds_faulty_reductions("tensorflow_reductions", "graph", faults)


@pytest.mark.full
@pytest.mark.parametrize("variant", ["graph", "xla"])
def test_each_device_drops_other_values(bench, variant):
    script = """
        import json, sys
        import numpy
        from velodrome.adapters.contract import Batch, Group
        from velodrome.adapters.frameworks.tensorflow.adapter import Adapter
        from velodrome.adapters.models.layers import Dropout, Model, NoLoss, Vectors

        size = 4096
        layers = (Dropout("drop", 0.5),)
        model = Model("drops", "", Vectors(size, "uniform"), layers, NoLoss(), 0, 2, 2)
        adapter = Adapter(model, sys.argv[1], "cpu", 1, "float32")
        adapter.join(Group(devices=2))
        adapter.build({})
        adapter.load((Batch(numpy.ones((2, size), numpy.float32)),))
        adapter.set_dropout(True)
        kept = adapter.output(adapter.forward(0)) != 0
        print(json.dumps(float((kept[0] == kept[1]).mean())))
    """
    assert 0.4 < bench.run_script(script, variant) < 0.6


@pytest.mark.full
def test_a_timed_model_passes_every_check_on_two_devices(bench):
    bench.agrees("lenet", batch_size=8, devices=2)


def test_two_nodes_agree_with_the_whole_batch(bench):
    phases = ("forward", "gradient", "inference", "step")
    verified = bench.agrees("lenet", nodes=2, batch_size=8, phases=phases, optimizer="adamw")
    assert any("MultiWorkerMirroredStrategy over gRPC" in note for note in verified.notes)


@pytest.mark.full
@pytest.mark.parametrize(("model", "variant"), [("bert-base-tiny", "graph"), ("lenet", "xla")])
def test_padded_sequences_and_compiled_parts_agree_on_two_nodes(bench, model, variant):
    bench.agrees(model, variant=variant, nodes=2, batch_size=2)


@pytest.mark.full
@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("bfloat16", "gradients are off"),
        ("left out", "gradients are off"),
        ("not divided", "gradients are off"),
        ("not shared", "on rank 1 of 2 differs from that on rank 0"),
    ],
)
def test_a_faulty_reduction_between_nodes_disagrees(workers_of, fault, reason):
    failed = workers_of("tensorflow", GROUP_FAULT=fault).disagrees(
        "lenet", adapter="tensorflow_node_faults", nodes=2, batch_size=8
    )
    assert reason in failed.reason


@pytest.mark.full
def test_a_node_that_keeps_its_first_examples_is_caught_by_unseen_ones(workers_of):
    stale = workers_of("tensorflow", GROUP_FAULT="stale")
    stale.cheats(
        "lenet", "not_seen_before", adapter="tensorflow_node_faults", nodes=2, batch_size=8
    )


def test_several_cpu_devices_on_each_of_two_nodes_are_unsupported(bench):
    failed = bench.measure("lenet", nodes=2, devices=2, batch_size=8)[-1]
    assert failed.status == "unsupported"
    assert "one CPU device in each process" in failed.reason
