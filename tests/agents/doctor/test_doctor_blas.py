"""The doctor's check of environments whose OpenBLAS runs slower kernels than the CPU could."""

from pathlib import Path

import pytest

from velodrome.agents.doctor import blas
from velodrome.agents.doctor.blas import OpenBlasEnvironment
from velodrome.agents.doctor.finding import FindingLevel
from velodrome.agents.environments.core_types import KernelChoice, OpenBlasRun


def make_environment(framework: str, core: str, **named: str) -> OpenBlasEnvironment:
    run = (OpenBlasRun("a.so", "0.3.13", core, exact=True),)
    return OpenBlasEnvironment(framework, KernelChoice(own=run, run=run, best="AVX-512", **named))


def test_the_best_kernels_pass_and_are_named() -> None:
    found = blas.check_kernels(
        (make_environment("caffe", "SKYLAKEX"), make_environment("numpy", "COOPERLAKE"))
    )
    assert (found.verdict, found.seen) == (FindingLevel.FINE, "caffe SKYLAKEX, numpy COOPERLAKE")


def test_slower_kernels_warn_with_the_framework_the_library_and_the_remedy() -> None:
    found = blas.check_kernels(
        (make_environment("caffe", "PRESCOTT"), make_environment("numpy", "SKYLAKEX"))
    )
    assert found.verdict is FindingLevel.WARNING
    assert found.seen == "below AVX-512: caffe openblas 0.3.13 PRESCOTT"
    assert found.mend == "lock a newer OpenBLAS, if there is one: velodrome envs lock caffe"


def test_if_a_setting_chose_the_kernels_the_remedy_is_to_remove_it() -> None:
    user = make_environment(
        "caffe", "HASWELL", setting="Haswell", named_by="VELODROME_OPENBLAS_CORETYPE"
    )
    assert blas.check_kernels((user,)).mend == "unset VELODROME_OPENBLAS_CORETYPE"
    recipe = make_environment("caffe", "HASWELL", setting="Haswell", named_by="environment.toml")
    mend = "remove OPENBLAS_CORETYPE from the environment.toml of caffe"
    assert blas.check_kernels((recipe,)).mend == mend


@pytest.mark.parametrize("folder", ["", "envs"])
def test_without_built_environments_the_kernel_check_passes_and_writes_nothing(
    tmp_path: Path, folder: str
) -> None:
    (tmp_path / folder).mkdir(exist_ok=True)
    before = sorted(tmp_path.rglob("*"))
    found = blas.check_kernels(blas.find_environments({"VELODROME_HOME": str(tmp_path)}))
    assert found.verdict is FindingLevel.FINE
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.framework
@pytest.mark.slow
def test_a_built_environment_is_checked_and_a_slower_user_setting_warns(
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
