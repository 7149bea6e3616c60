"""The kernels that Caffe's OpenBLAS, which is older than most CPUs, really runs."""

import shutil
from pathlib import Path

import pytest

from velodrome.adapters.protocol import Timing
from velodrome.agents.environments.core_types import SETS, cpu_flags, level
from velodrome.agents.environments.store import EnvironmentStore, default_root
from velodrome.agents.execution import execute
from velodrome.agents.inventory import take_inventory
from velodrome.agents.measurement import Measurement
from velodrome.agents.task import Limits, Task

pytestmark = [
    pytest.mark.framework,
    pytest.mark.full,
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which("mmdebstrap"), reason="mmdebstrap is not installed"),
]
QUICK = Timing(target=0.9, min_samples=3, min_seconds=0.0, max_seconds=2.0)
TASK = Task("caffe", "openblas", "lenet", 8, timing=QUICK, limits=Limits(deadline_s=120))


def run() -> Measurement:
    store = EnvironmentStore(default_root())
    return execute(
        TASK,
        node=take_inventory("this"),
        repeat=0,
        attempt=1,
        environments=store,
        on_event=lambda event: None,
    )


def core_of(ended: Measurement) -> str:
    assert ended.verified is not None, ended.reason
    (kernel,) = ended.kernels
    name, version, core = kernel.split()
    assert (name, version) == ("openblas", "0.3.13")
    return core


@pytest.mark.parametrize("exported", ["", "Prescott", "Cooperlake"])
def test_caffe_runs_the_best_kernels_of_this_cpu_whatever_the_shell_exports(
    exported: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = cpu_flags(Path("/proc/cpuinfo").read_text())
    if not flags >= {"avx2", "fma"}:
        pytest.skip("needs a CPU with AVX2")
    monkeypatch.delenv("VELODROME_OPENBLAS_CORETYPE", raising=False)
    monkeypatch.setenv("OPENBLAS_CORETYPE", exported)
    core = core_of(run())
    assert core not in ("PRESCOTT", "BARCELONA")
    assert SETS[level(core)] == ("AVX-512" if "avx512vl" in flags else "AVX2")


def test_caffe_runs_the_kernels_that_the_user_names_and_is_still_verified(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("VELODROME_OPENBLAS_CORETYPE", "Prescott")
    ended = run()
    assert core_of(ended) == "PRESCOTT"
    assert "OPENBLAS_CORETYPE=Prescott, set by VELODROME_OPENBLAS_CORETYPE" in ended.notes
