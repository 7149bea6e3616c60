"""`ceilings` and `canary` of a sweep file: what they add to its cells and its tasks."""

import pytest

from velodrome.adapters.protocol import Timing
from velodrome.agents.node import Core, Gpu, Node
from velodrome.agents.task import Task
from velodrome.scheduler.errors import ConfigError
from velodrome.scheduler.plans.placement import make_plan
from velodrome.scheduler.sweeps.exclusions import count_cells
from velodrome.scheduler.sweeps.expansion import expand_cells
from velodrome.scheduler.sweeps.sweep import Sweep
from velodrome.scheduler.sweeps.sweep_file import parse_sweep

TEXT = """
frameworks: [torch, tensorflow]
models: [lenet]
threads: [1, physical]
devices: [cpu, gpu]
timing: {target: 1%, min_seconds: 3, max_seconds: 60}
"""
NODE = Node(
    "n1",
    "host1",
    "CPU",
    tuple(Core(core, (core,)) for core in range(8)),
    2**34,
    gpus=(Gpu(0, "Some GPU", "GPU-1", 2**34),),
)


def sweep(more: str) -> Sweep:
    return parse_sweep(f"{TEXT}{more}\n", "some.yaml")


def tasks(of: Sweep) -> list[Task]:
    return [placement.task for placement in make_plan(expand_cells(of), of, [NODE], {}).placements]


def added(more: str) -> set[tuple[str, str, str, object]]:
    cells = expand_cells(sweep(more))
    found = {(cell.framework, cell.model, cell.device, cell.threads) for cell in cells}
    return {cell for cell in found if cell[1] != "lenet"}


def test_ceilings_are_a_product_and_a_copy_per_framework_device_and_threads() -> None:
    assert added("ceilings: true") == {
        (framework, model, device, threads)
        for framework in ("torch", "tensorflow")
        for device, threads, product in (
            ("cpu", 1, "gemm-1024"),
            ("cpu", "physical", "gemm-2048"),
            ("gpu", 1, "gemm"),
            ("gpu", "physical", "gemm"),
        )
        for model in (product, "copy")
    }


def test_a_sweep_without_ceilings_adds_nothing() -> None:
    assert added("") == added("ceilings: false") == set()


def test_a_product_that_the_sweep_runs_anyway_runs_once() -> None:
    text = TEXT.replace("[lenet]", "[copy, gemm-1024]")
    cells = expand_cells(parse_sweep(f"{text}\nceilings: true", "some.yaml"))
    assert len(cells) == len(set(cells))


def test_ceilings_are_reached_in_the_first_variant_and_in_each_type() -> None:
    text = "variants: {torch: [channels_last, eager]}\nceilings: true"
    variants = {cell.variant for cell in expand_cells(sweep(text)) if cell.model == "copy"}
    assert variants == {"channels_last", "graph"}
    old = "frameworks: [theano]\nvariants: {theano: ['*']}\nmodels: [lenet]\nceilings: true"
    cells = expand_cells(parse_sweep(old, "some.yaml"))
    assert len({cell.variant for cell in cells if cell.model == "copy"}) < len(
        {cell.variant for cell in cells if cell.model == "lenet"}
    )


def test_ceilings_can_be_excluded_and_are_counted() -> None:
    some = sweep("ceilings: true\nexclude: [{model: copy, device: cpu}]")
    assert ("copy", "cpu") not in {(cell.model, cell.device) for cell in expand_cells(some)}
    assert count_cells(some) == len(expand_cells(sweep("ceilings: true")))


def test_ceilings_take_seconds_however_long_the_sweep_is() -> None:
    timings = {task.model: task.timing for task in tasks(sweep("ceilings: true"))}
    assert timings["lenet"] == Timing(0.01, 10, 3.0, 60.0)
    assert timings["copy"] == timings["gemm"] == Timing(0.02, 5, 0.5, 5.0)


def test_canaries_run_in_numpy_on_cpus_and_in_the_framework_named_on_gpus() -> None:
    for setting, on_gpus in (("true", "torch"), ("jax", "jax")):
        found = {(task.device, task.canary) for task in tasks(sweep(f"canary: {setting}"))}
        assert found == {("cpu", "numpy"), ("gpu", on_gpus)}
    assert {task.canary for task in tasks(sweep("canary: false"))} == {""}


def test_canaries_change_no_task_s_key() -> None:
    without, with_them = (tasks(sweep(text)) for text in ("", "canary: true"))
    assert [task.key for task in without] == [task.key for task in with_them]


@pytest.mark.parametrize("value", ["yes", "numpy", "[torch]", "1"])
def test_a_framework_without_a_gpu_path_cannot_run_canaries(value: str) -> None:
    with pytest.raises(ConfigError, match=r"some.yaml:7:9: canary holds .*Give true, false, or"):
        sweep(f"canary: {value}")


def test_a_product_and_a_copy_run_in_each_precision() -> None:
    cells = expand_cells(sweep("ceilings: true\ndtypes: [float32, bfloat16]"))
    found = {(cell.model, cell.dtype) for cell in cells if cell.device == "gpu"}
    models = ("lenet", "gemm", "copy")
    assert found == {(model, dtype) for model in models for dtype in ("float32", "bfloat16")}
