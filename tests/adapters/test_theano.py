"""Workers in Theano: what its compiled code is linked to, and what its direct convolution lacks."""

import pytest

pytestmark = [pytest.mark.framework, pytest.mark.full]


@pytest.fixture(scope="module")
def bench(workers_of):
    return workers_of("theano")


@pytest.mark.slow
def test_products_run_in_the_openblas_of_scipys_wheel(bench):
    script = """
        import json
        import numpy
        from velodrome.adapters.frameworks.theano import adapter
        from theano import config, function, tensor

        x = tensor.matrix()
        assert function([x], tensor.dot(x, x))(numpy.ones((4, 4), "float32"))[0, 0] == 4
        print(json.dumps([config.blas.ldflags, config.floatX, config.openmp, config.allow_gc]))
    """
    linked, *flags = bench.say(script)
    assert "scipy.libs -lopenblas" in linked
    assert flags == ["float32", True, False]


def test_without_a_compiler_it_says_so_and_does_not_go_on_in_python(workers_of, tmp_path):
    bench = workers_of("theano", PATH=str(tmp_path))
    failed = bench.measure("autoencoder-400-200-100/ae3", batch_size=4)[-1]
    assert failed.status == "environment_failed"
    assert "install g++" in failed.reason


def test_direct_convolution_names_what_it_lacks(bench):
    failed = bench.measure("alexnet-plain", variant="direct", batch_size=1)[-1]
    assert failed.status == "unsupported"
    assert "ConvOp" in failed.reason


@pytest.mark.slow
def test_direct_convolution_agrees(bench):
    bench.agrees("lenet", variant="direct", batch_size=4)


@pytest.mark.slow
def test_batches_loaded_again_and_a_changed_parameter_count_without_a_new_compilation(bench):
    bench.follows("autoencoder-400-200-100/ae3", batch_size=4)
