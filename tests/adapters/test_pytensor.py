"""Workers in PyTensor: what its compiled code is linked to."""

import pytest

pytestmark = [pytest.mark.framework, pytest.mark.full]


@pytest.fixture(scope="module")
def bench(workers_of):
    return workers_of("pytensor")


def test_compiled_code_links_the_openblas_of_scipys_wheel(bench):
    script = """
        import json
        from velodrome.adapters.frameworks.pytensor import adapter
        from pytensor import config

        print(json.dumps([config.blas__ldflags, config.floatX, config.openmp, config.allow_gc]))
    """
    linked, *flags = bench.run_script(script)
    assert "scipy.libs -lopenblas" in linked
    assert flags == ["float32", True, False]


@pytest.mark.slow
def test_a_gradient_call_does_not_change_the_weights(bench):
    script = """
        import json
        from velodrome.adapters.proof import seeding
        from velodrome.adapters.models import MODELS
        from velodrome.adapters.frameworks.pytensor.adapter import Adapter

        model = MODELS["autoencoder-400-200-100/ae2"]
        adapter = Adapter(model, "c", "cpu", 1, "float32")
        adapter.build(seeding.draw_weights(model, 0))
        adapter.load(seeding.draw_batches(model, 4, 0))
        adapter.set_dropout(False)
        print(json.dumps([adapter.loss(adapter.gradient(0)) for _ in range(3)]))
    """
    assert len(set(bench.run_script(script))) == 1


@pytest.mark.slow
def test_reloaded_batches_and_a_changed_parameter_take_effect_without_recompilation(bench):
    bench.follows("autoencoder-400-200-100/ae3", batch_size=4)


def test_a_lower_precision_is_unsupported_and_named(bench):
    failed = bench.measure("gpt2-tiny", dtype="bfloat16")[-1]
    assert failed.status == "unsupported"
    assert failed.reason == "the pytensor adapter has no 'bfloat16', only float32"


@pytest.mark.slow
def test_inference_update_and_step_agree(bench):
    bench.verifies_phases("probe-batch-norm", optimizers="sgd")
    bench.verifies_phases("probe-tied-linear", optimizers="adamw")


@pytest.mark.slow
def test_every_check_of_a_timed_inference_update_and_step_passes(bench):
    bench.agrees(
        "autoencoder-400-200-100/ae3",
        batch_size=4,
        phases=("inference", "update", "step"),
        optimizer="adamw",
    )


@pytest.mark.slow
def test_a_step_writes_into_none_of_the_weights_that_were_given(bench):
    """They are borrowed for as long as no parameter changes, and steps write in place."""
    script = """
        import json
        from velodrome.adapters.proof import seeding
        from velodrome.adapters.models import MODELS
        from velodrome.adapters.frameworks.pytensor.adapter import Adapter

        model = MODELS["autoencoder-400-200-100/ae3"]
        adapter = Adapter(model, "c", "cpu", 1, "float32")
        weights = seeding.draw_weights(model, 0)
        adapter.build(weights)
        adapter.load(seeding.draw_batches(model, 4, 0))
        adapter.set_dropout(False)
        adapter.start_training("sgd", weights)
        losses = [adapter.loss(adapter.step(0)) for _ in range(3)]
        drawn = seeding.draw_weights(model, 0)
        changed = [name for name in weights if (weights[name] != drawn[name]).any()]
        print(json.dumps([losses, changed]))
    """
    losses, changed = bench.run_script(script)
    assert len(set(losses)) == 3
    assert changed == []
