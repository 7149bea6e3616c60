"""What is said of environments whose OpenBLAS runs lesser kernels than the CPU could."""

from pathlib import Path

import pytest

from velodrome.agents.doctor import blas
from velodrome.agents.doctor.blas import OpenBlasEnvironment
from velodrome.agents.doctor.finding import FindingLevel
from velodrome.agents.environments.core_types import KernelChoice, OpenBlasRun


def built(framework: str, core: str, **named: str) -> OpenBlasEnvironment:
    run = (OpenBlasRun("a.so", "0.3.13", core, exact=True),)
    return OpenBlasEnvironment(framework, KernelChoice(own=run, run=run, best="AVX-512", **named))


def test_the_best_kernels_are_fine_and_named() -> None:
    found = blas.check_kernels((built("caffe", "SKYLAKEX"), built("numpy", "COOPERLAKE")))
    assert (found.verdict, found.seen) == (FindingLevel.FINE, "caffe SKYLAKEX, numpy COOPERLAKE")


def test_lesser_ones_are_a_warning_that_names_the_framework_the_library_and_the_mend() -> None:
    found = blas.check_kernels((built("caffe", "PRESCOTT"), built("numpy", "SKYLAKEX")))
    assert found.verdict is FindingLevel.WARNING
    assert found.seen == "below AVX-512: caffe openblas 0.3.13 PRESCOTT"
    assert found.mend == "a newer OpenBLAS, if it can be had: velodrome envs lock caffe"


def test_where_somebody_named_them_the_mend_is_to_name_them_no_more() -> None:
    user = built("caffe", "HASWELL", setting="Haswell", named_by="VELODROME_OPENBLAS_CORETYPE")
    assert blas.check_kernels((user,)).mend == "unset VELODROME_OPENBLAS_CORETYPE"
    recipe = built("caffe", "HASWELL", setting="Haswell", named_by="environment.toml")
    said = "take OPENBLAS_CORETYPE out of the environment.toml of caffe"
    assert blas.check_kernels((recipe,)).mend == said


@pytest.mark.parametrize("folder", ["", "envs"])
def test_where_nothing_is_built_nothing_is_tried_or_made(tmp_path: Path, folder: str) -> None:
    (tmp_path / folder).mkdir(exist_ok=True)
    before = sorted(tmp_path.rglob("*"))
    found = blas.check_kernels(blas.find_environments({"VELODROME_HOME": str(tmp_path)}))
    assert found.verdict is FindingLevel.FINE
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.framework
@pytest.mark.slow
def test_an_environment_that_is_built_is_tried_and_a_lesser_setting_of_the_users_is_told(
    framework_environment: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert callable(framework_environment)
    framework_environment("numpy")
    own = {one.framework: one.choice for one in blas.find_environments()}["numpy"]
    assert all(seen.exact for seen in own.run)
    if own.best not in ("AVX2", "AVX-512"):
        pytest.skip("needs an x86 CPU with AVX2")
    assert own.below == ()
    monkeypatch.setenv("VELODROME_OPENBLAS_CORETYPE", "Nehalem")
    found = blas.check_kernels(blas.find_environments())
    assert found.verdict is FindingLevel.WARNING
    assert found.mend == "unset VELODROME_OPENBLAS_CORETYPE"
