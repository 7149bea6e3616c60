"""Workers in PyTensor 3: what either linker takes, and where what it compiles is kept."""

import pytest

pytestmark = pytest.mark.framework


def test_its_c_linker_finds_the_openblas_of_scipys_wheel_by_its_new_names(workers_of):
    script = """
        import json
        from velodrome.adapters.pytensor3 import adapter
        from pytensor import config
        from pytensor.link.numba.cache import NUMBA_CACHE_PATH

        flags = [config.blas__ldflags, config.gcc__cxxflags, config.floatX]
        print(json.dumps([*flags, str(config.base_compiledir), str(NUMBA_CACHE_PATH)]))
    """
    linked, renamed, precision, compiled, cached = workers_of("pytensor3").say(script)
    assert "scipy.libs -lscipy_openblas" in linked
    assert "-Dsgemm_=scipy_sgemm_" in renamed.split()
    assert precision == "float32"
    assert compiled.endswith("/pytensor")
    assert cached == compiled + "/numba"
