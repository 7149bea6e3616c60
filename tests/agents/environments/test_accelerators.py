"""The lock for each accelerator, and the accelerator that this node's driver makes of `gpu`."""

import os
import subprocess
import sys

import pytest

from velodrome.agents.environments.accelerators import name_accelerator, rank
from velodrome.agents.environments.recipes import Lock, Recipe, RecipeError
from velodrome.agents.environments.store import EnvironmentFailed
from velodrome.agents.node import Gpu

HERE = """
from velodrome.agents.environments.accelerators import resolve_accelerator
print(resolve_accelerator('gpu'), resolve_accelerator('cpu'))
"""


@pytest.mark.parametrize(
    ("accelerator", "served", "expected"),
    [
        ("cpu", ["cpu"], 0),
        ("cpu", ["gpu"], None),
        ("gpu", ["cuda12"], 0),
        ("gpu", ["cpu"], None),
        ("cuda13", ["cuda13", "cpu"], 0),
        ("cuda13", ["cuda12"], 1),
        ("cuda12", ["cuda13"], None),
        ("cuda12", ["gpu"], 100),
        ("cuda12", ["cpu"], None),
    ],
)
def test_a_driver_runs_its_own_cuda_and_older_ones(accelerator, served, expected) -> None:
    assert rank(accelerator, served) == expected


def test_the_lock_of_the_newest_cuda_that_runs_comes_first() -> None:
    locks = tuple(
        Lock(file=f"{name}.txt", devices=(name,), python=("3.12",))
        for name in ("gpu", "cuda11", "cuda13", "cuda12", "cpu")
    )
    recipe = Recipe(kind="uv", about="", module="x", locks=locks)

    def files(accelerator: str) -> list[str]:
        return [lock.file.removesuffix(".txt") for lock in recipe.locks_for(accelerator)]

    assert files("cuda13") == ["cuda13", "cuda12", "cuda11", "gpu"]
    assert files("cuda12") == ["cuda12", "cuda11", "gpu"]
    assert files("cpu") == ["cpu"]
    assert files("gpu") == ["gpu", "cuda11", "cuda13", "cuda12"]


@pytest.mark.parametrize(
    ("cuda_major", "capabilities", "expected"),
    [
        (13, ["8.0"], "cuda13"),
        (13, [""], "cuda13"),
        (13, ["7.5", "10.0"], "cuda13"),
        (13, ["8.0", "7.0"], "cuda12"),  # a V100, for which CUDA 13 has no compiler
        (12, ["6.0"], "cuda12"),
        (13, ["3.7"], "cuda11"),
        (11, ["8.0"], "cuda11"),
        (0, ["8.0"], ""),
    ],
)
def test_an_old_gpu_needs_a_build_for_an_older_cuda_than_its_driver_runs(
    cuda_major, capabilities, expected
) -> None:
    gpus = [Gpu(0, "GPU", "GPU-0", 0, compute_capability=text) for text in capabilities]
    assert name_accelerator(cuda_major, gpus) == expected


@pytest.mark.slow
@pytest.mark.parametrize(
    ("driver", "expected"),
    [
        ({"FAKE_NVML": "NVIDIA L40S:1", "FAKE_NVML_CUDA": "13000"}, "cuda13 cpu"),
        ({"FAKE_NVML": "NVIDIA L40S:1", "FAKE_NVML_CUDA": "12040"}, "cuda12 cpu"),
        ({"FAKE_NVML": "NVIDIA L40S:1", "FAKE_NVML_DRIVER": "580.65.06"}, "cuda13 cpu"),
        ({"FAKE_NVML": "NVIDIA L40S:1", "FAKE_NVML_DRIVER": "535.104"}, "cuda12 cpu"),
        ({"FAKE_NVML": "NVIDIA L40S:1", "FAKE_NVML_DRIVER": "470.57"}, "cuda11 cpu"),
        ({"FAKE_NVML": ""}, "gpu cpu"),
    ],
)
def test_the_nodes_driver_decides_which_cuda_gpu_means(fake_driver, driver, expected) -> None:
    environ = {**os.environ, "LD_LIBRARY_PATH": str(fake_driver), **driver}
    run = subprocess.run(
        [sys.executable, "-c", HERE], env=environ, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == expected


def add_cuda(node) -> None:
    recipe = node.recipe.replace(
        "locks = [", 'locks = [{file = "cuda.txt", devices = ["cuda13"]}, '
    )
    texts = {"one.txt": node.add_tiny(), "cuda.txt": node.add_tiny("2.0")}
    node.add_framework("little", recipe, texts)


@pytest.mark.slow
def test_a_gpu_environment_is_built_on_a_node_without_a_gpu(node) -> None:
    add_cuda(node)
    cuda, cpu = node.store.build("little", "cuda13"), node.store.build("little", "cpu")
    assert cuda.lock and cuda.lock.name == "cuda.txt"
    assert cpu.lock and cpu.lock.name == "one.txt"
    assert node.store.find("little", "cuda13") == cuda
    assert node.store.lock_hash("little", "gpu") != node.store.lock_hash("little", "cpu")
    assert node.store.prune() == ()


def test_a_driver_too_old_for_every_lock_is_reported_with_the_available_locks(node) -> None:
    add_cuda(node)
    with pytest.raises(EnvironmentFailed, match=r"no lock for cuda12 .* only for cuda13") as raised:
        node.store.build("little", "cuda12")
    assert "VELODROME_PYTHON_LITTLE" in raised.value.reason


def test_an_unknown_accelerator_is_reported_with_the_remedy(node) -> None:
    recipe = node.recipe.replace('devices = ["cpu"]', 'devices = ["quda13"]')
    node.add_framework("little", recipe, {"one.txt": node.add_tiny()})
    with pytest.raises(RecipeError, match="Give cpu, gpu or cuda13"):
        node.store.lock_hash("little")
