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
