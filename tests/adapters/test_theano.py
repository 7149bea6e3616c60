"""Workers in Theano: what its compiled code is linked to, and what its direct convolution lacks."""

import pytest

from velodrome.adapters.composed_ops import list_composed_kinds

pytestmark = [pytest.mark.framework, pytest.mark.full]


@pytest.fixture(scope="module")
def bench(workers_of):
    return workers_of("theano")


@pytest.mark.slow
def test_matrix_products_run_in_the_openblas_of_scipys_wheel(bench):
    script = """
        import json
        import numpy
        from velodrome.adapters.frameworks.theano import adapter
        from theano import config, function, tensor

        x = tensor.matrix()
        assert function([x], tensor.dot(x, x))(numpy.ones((4, 4), "float32"))[0, 0] == 4
        print(json.dumps([config.blas.ldflags, config.floatX, config.openmp, config.allow_gc]))
    """
    linked, *flags = bench.run_script(script)
    assert "scipy.libs -lopenblas" in linked
    assert flags == ["float32", True, False]


def test_without_a_compiler_theano_fails_rather_than_run_in_python(workers_of, tmp_path):
    bench = workers_of("theano", PATH=str(tmp_path))
    failed = bench.measure("autoencoder-400-200-100/ae3", batch_size=4)[-1]
    assert failed.status == "environment_failed"
    assert "install g++" in failed.reason


def test_direct_convolution_names_the_missing_operation(bench):
    failed = bench.measure("alexnet-plain", variant="direct", batch_size=1)[-1]
    assert failed.status == "unsupported"
    assert "ConvOp" in failed.reason


@pytest.mark.slow
def test_direct_convolution_agrees(bench):
    bench.agrees("lenet", variant="direct", batch_size=4)


@pytest.mark.slow
def test_reloaded_batches_and_a_changed_parameter_take_effect_without_recompilation(bench):
    bench.follows("autoencoder-400-200-100/ae3", batch_size=4)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["gpt2-tiny"])
def test_models_of_today_agree(bench, model):
    bench.agrees(model)


@pytest.mark.parametrize("dtype", ["tf32", "bfloat16", "float16"])
def test_a_lower_precision_is_unsupported_and_named(bench, dtype):
    failed = bench.measure("gpt2-tiny", dtype=dtype)[-1]
    assert failed.status == "unsupported"
    assert failed.reason == f"the theano adapter has no '{dtype}', only float32"


@pytest.mark.slow
def test_inference_update_and_step_agree_by_composed_optimizers(bench):
    models = "probe-batch-norm,probe-lstm,probe-dropout"
    found = bench.verifies_phases(models)["corrmm"]["float32"]
    for optimizer, kind in (("sgd", "Sgd"), ("adamw", "AdamW")):
        for _, _, notes in found[optimizer].values():
            assert kind in list_composed_kinds(notes)


@pytest.mark.slow
def test_direct_convolution_agrees_in_inference_update_and_step(bench):
    bench.verifies_phases("lenet", variants="direct", optimizers="sgd")
