"""Workers in Chainer: with iDeep and without."""

import pytest

from velodrome.adapters.protocol import COMPUTED_PHASES

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


@pytest.mark.slow
def test_inference_updates_and_steps_agree_in_every_variant(bench):
    models = "lenet,resnet50-tiny,gpt2-tiny,probe-lstm,probe-pretraining"
    bench.verifies_phases(models, variants="ideep,numpy")


@pytest.mark.slow
@pytest.mark.parametrize(("variant", "optimizer"), [("ideep", "adamw"), ("numpy", "sgd")])
def test_all_phases_of_a_model_that_drops_pass_every_check(bench, variant, optimizer):
    changes = {"variant": variant, "phases": COMPUTED_PHASES, "optimizer": optimizer}
    bench.agrees("probe-dropout", **changes)


@pytest.mark.parametrize("variant", ["ideep", "numpy"])
def test_training_leaves_the_given_weights_and_statistics_as_they_were(bench, variant):
    script = """
        import json, sys
        from velodrome.adapters.proof import seeding
        from velodrome.adapters.frameworks.chainer.adapter import Adapter
        from velodrome.adapters.models import MODELS

        model = MODELS["probe-batch-norm"]
        weights = seeding.draw_weights(model, 0)
        statistics = {
            "probed." + role: abs(weights["probed.scale"]) for role in ("mean", "variance")
        }
        given = [*weights.values(), *statistics.values()]
        before = [own.copy() for own in given]
        adapter = Adapter(model, sys.argv[1], "cpu", 1, "float32")
        adapter.build(weights)
        adapter.load(seeding.draw_batches(model, 4, 0))
        adapter.set_dropout(False)
        adapter.start_inference(statistics)
        adapter.end_inference()
        adapter.start_training("sgd", weights)
        for _ in range(2):
            adapter.step(0)
        changed = [own for own in zip(given, before) if (own[0] != own[1]).any()]
        print(json.dumps(len(changed)))
    """
    assert bench.run_script(script, variant) == 0
