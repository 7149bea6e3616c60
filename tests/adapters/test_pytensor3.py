"""Workers in PyTensor 3: what either linker takes, and where what it compiles is kept."""

import pytest

pytestmark = [pytest.mark.framework, pytest.mark.full]


@pytest.fixture(scope="module")
def bench(workers_of):
    return workers_of("pytensor3")


def test_its_c_linker_finds_the_openblas_of_scipys_wheel_by_its_new_names(bench):
    script = """
        import json
        from velodrome.adapters.frameworks.pytensor3 import adapter
        from pytensor import config
        from pytensor.link.numba.cache import NUMBA_CACHE_PATH

        flags = [config.blas__ldflags, config.gcc__cxxflags, config.floatX]
        print(json.dumps([*flags, str(config.base_compiledir), str(NUMBA_CACHE_PATH)]))
    """
    linked, renamed, precision, compiled, cached = bench.run_script(script)
    assert "scipy.libs -lscipy_openblas" in linked
    assert "-Dsgemm_=scipy_sgemm_" in renamed.split()
    assert precision == "float32"
    assert compiled.endswith("/pytensor")
    assert cached == compiled + "/numba"


@pytest.mark.slow
def test_reloaded_batches_and_a_changed_parameter_take_effect_without_recompilation(bench):
    bench.follows("autoencoder-400-200-100/ae3", batch_size=4, variant="c")


@pytest.mark.slow
def test_inference_update_and_step_agree_by_either_linker(bench):
    bench.verifies_phases("probe-tied-linear", variants="numba", optimizers="sgd")
    bench.verifies_phases("probe-batch-norm", variants="c", optimizers="adamw")
