"""Workers in Chainer: with iDeep and without."""

import pytest

pytestmark = [pytest.mark.framework, pytest.mark.full]


@pytest.fixture(scope="module")
def bench(workers_of):
    return workers_of("chainer")


@pytest.mark.slow
@pytest.mark.parametrize("model", ["lenet", "autoencoder-400-200-100/ae2"])
def test_without_ideep_a_model_agrees_too(bench, model):
    bench.agrees(model, variant="numpy", batch_size=4)


def test_ideep_computes_if_requested(bench):
    found = bench.run_script(
        """
        import json
        from velodrome.adapters.proof import seeding
        from velodrome.adapters.frameworks.chainer.adapter import Adapter
        from velodrome.adapters.models import MODELS

        model, found = MODELS["lenet"], []
        for variant in ("ideep", "numpy"):
            adapter = Adapter(model, variant, "cpu", 1, "float32")
            adapter.build(seeding.draw_weights(model, 0))
            adapter.load(seeding.draw_batches(model, 2, 0)[:1])
            adapter.set_dropout(False)
            gradients = adapter.gradient(0)[1]
            found.append(type(gradients["conv1.weight"][0]).__name__)
        print(json.dumps(found))
        """
    )
    assert found == ["mdarray", "ndarray"]


def test_a_missing_device_is_unsupported_by_name(bench):
    failed = bench.measure("lenet", device="gpu", batch_size=2)[-1]
    assert failed.status == "unsupported"
    assert "'gpu'" in failed.reason


@pytest.mark.slow
def test_reloaded_batches_and_a_changed_parameter_take_effect_without_recompilation(bench):
    bench.follows("lenet", batch_size=4)


@pytest.mark.slow
def test_every_small_twin_agrees(bench):
    bench.verifies_twins("ideep,numpy", "float32")


@pytest.mark.slow
def test_a_timed_small_twin_passes_every_check(bench):
    bench.agrees("gpt2-tiny")


def test_a_lower_precision_is_unsupported_by_name(bench):
    failed = bench.measure("gpt2-tiny", dtype="bfloat16")[-1]
    assert failed.status == "unsupported"
    assert "'bfloat16'" in failed.reason
