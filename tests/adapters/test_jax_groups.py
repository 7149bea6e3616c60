"""JAX on several devices of one process: each batch divided, gradients reduced, errors found."""

from pathlib import Path

import pytest

pytestmark = [pytest.mark.framework, pytest.mark.full, pytest.mark.slow]

GROUPS = str(Path(__file__).with_name("group_run.py"))
ADAPTER = "velodrome.adapters.frameworks.jax.adapter"


@pytest.fixture(scope="module")
def bench(workers_of):
    return workers_of("jax", NPROC="2")


def test_two_devices_agree_with_the_whole_batch_in_every_phase(bench):
    models = "lenet,gpt2-tiny,bert-base-tiny,probe-lstm,probe-dropout"
    found = bench.run_script(GROUPS, ADAPTER, f"--models={models}", "--variants=jit,eager")
    outcomes = found[ADAPTER]["jit"]["float32"]
    assert list(outcomes) == models.split(",")
    for model, (status, text, notes) in outcomes.items():
        assert status == "agreed", (model, text)
        assert "data parallel on 2 devices of one process, by jax.shard_map" in notes
    for status, text, _ in found[ADAPTER]["eager"]["float32"].values():
        assert status == "unsupported"
        assert "Use the variant jit" in text


def test_batch_normalization_uses_the_examples_of_its_own_device(bench):
    found = bench.run_script(GROUPS, ADAPTER, "--models=resnet50-tiny", "--variants=jit")
    assert found[ADAPTER]["jit"]["float32"]["resnet50-tiny"][:2] == ["agreed", ""]


def test_planted_errors_of_division_and_all_reduce_are_found(bench):
    faults = {
        "LeftOut": "gradients are off",
        "Summed": "gradients are off",
        "Lower": "gradients are off",
        "Apart": "of device 1 is not that of device 0",
        "Stale": "loss is off",
    }
    bench.finds_faulty_reductions("jax_reductions", "jit", faults)


def test_each_device_drops_other_values_and_waits_for_all(bench):
    script = """
        import json
        import numpy
        import jax
        from velodrome.adapters.contract import Batch, Group
        from velodrome.adapters.frameworks.jax.adapter import Adapter
        from velodrome.adapters.models.layers import Dropout, Model, NoLoss, Vectors

        size = 4096
        layers = (Dropout("drop", 0.5),)
        model = Model("drops", "", Vectors(size, "uniform"), layers, NoLoss(), 0, 2, 2)
        adapter = Adapter(model, "jit", "cpu", 1, "float32")
        adapter.join(Group(devices=2))
        adapter.build({})
        adapter.load((Batch(numpy.ones((2, size), numpy.float32)),))
        adapter.set_dropout(True)
        handle = adapter.forward(0)
        done = handle.is_ready()
        kept = adapter.output(handle) != 0
        print(json.dumps([done, float((kept[0] == kept[1]).mean())]))
    """
    done, same = bench.run_script(script)
    assert done
    assert 0.4 < same < 0.6


def test_a_timed_model_passes_every_check_on_two_devices(bench):
    bench.agrees("lenet", batch_size=8, devices=2)


def test_nobody_can_take_the_coordinators_port_before_jax_does(bench):
    """jaxlib ends by a segmentation fault if it finds its port in use."""
    verified = bench.agrees("lenet", adapter="jax_taken_port", batch_size=8, nodes=2)
    assert any("of 2 processes, by jax.shard_map over jax.distributed" in n for n in verified.notes)
