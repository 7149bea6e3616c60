"""Sweeps of tasks that share each batch among several devices: processes and scaling."""

import pytest

from velodrome.adapters.registry import FRAMEWORKS
from velodrome.scheduler.errors import ConfigError
from velodrome.scheduler.sweeps.expansion import count_cells, expand_cells, iterate_cells
from velodrome.scheduler.sweeps.sweep import Sweep
from velodrome.scheduler.sweeps.sweep_file import parse_sweep

SHORTEST = "frameworks: [torch]\nmodels: [lenet]\nthreads: [1]\n"


def parsed(text: str) -> Sweep:
    return parse_sweep(SHORTEST + text, "s.yaml", FRAMEWORKS)


def cells(text: str) -> list[tuple[str, int, int]]:
    """List the device, number of devices and batch size of each cell."""
    sweep = parsed(text)
    found = expand_cells(sweep)
    assert len(set(found)) == len(found)
    assert count_cells(sweep) == len(tuple(iterate_cells(sweep)))
    return [(cell.device, cell.devices, cell.batch_size) for cell in found]


def test_processes_are_an_axis_and_keep_the_whole_batch_unless_told_otherwise() -> None:
    assert cells("processes: [1, 2]") == [("cpu", 1, 64), ("cpu", 2, 64)]
    assert cells("processes: [1, 2]\nscaling: strong") == cells("processes: [1, 2]")
    assert cells("devices: [cpu, cpu:2]") == cells("processes: [1, 2]")


def test_weak_scaling_keeps_the_batch_of_each_device() -> None:
    assert cells("processes: [1, 2, 4]\nscaling: weak") == [
        ("cpu", 1, 64),
        ("cpu", 2, 128),
        ("cpu", 4, 256),
    ]


def test_both_kinds_of_scaling_share_the_cells_of_one_device_and_every_other_equal_one() -> None:
    text = "processes: [1, 2]\nscaling: [weak, strong]\nbatch_sizes: {lenet: [8, 16]}"
    assert cells(text) == [
        ("cpu", 1, 8),
        ("cpu", 1, 16),
        ("cpu", 2, 8),
        ("cpu", 2, 16),
        ("cpu", 2, 32),
    ]


def test_processes_are_of_cpus_and_gpus_scale_by_their_own_number() -> None:
    text = 'devices: [gpu, "gpu:4", cpu]\nprocesses: [1, 2]\nscaling: weak'
    assert cells(text) == [("gpu", 1, 64), ("gpu", 4, 256), ("cpu", 1, 64), ("cpu", 2, 128)]


def test_an_exclusion_may_name_a_number_of_processes() -> None:
    assert cells("processes: [1, 2, 4]\nexclude: [{processes: 2}]") == [
        ("cpu", 1, 64),
        ("cpu", 4, 64),
    ]


def test_ceilings_are_measured_on_single_devices() -> None:
    sweep = parsed("processes: [1, 2]\nceilings: true")
    found = {(cell.model, cell.devices) for cell in iterate_cells(sweep)}
    assert found == {("lenet", 1), ("lenet", 2), ("gemm-1024", 1), ("copy", 1)}
    assert count_cells(sweep) == len(found)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("processes: [two]", "4:13: processes holds 'two'. Give a whole number, 1 to 64."),
        ("processes: [65]", "4:13: processes holds '65'. Give a whole number, 1 to 64."),
        ("processes: 2", "4:12: processes holds '2'. Give a list, like [1, 2]."),
        (
            "devices: [cpu:2]\nprocesses: [1, 2]",
            "5:12: `processes` and `devices` both give numbers of processes. Write `cpu` in",
        ),
        (
            "devices: [gpu]\nprocesses: [2]",
            "5:12: no device is a CPU, and a GPU has one process. Write gpu:2 in `devices`",
        ),
        ("devices: [cpu:0]", "4:11: devices holds 'cpu:0'. Give cpu:1 to cpu:64."),
        ("scaling: weak", "4:10: no task has several devices. Add processes: [1, 2], or gpu:2 to"),
        ("processes: [2]\nscaling: week", "5:10: no such kind of scaling 'week'. Did you mean"),
        (
            "processes: [4]\nscaling: weak\nbatch_sizes: {lenet: [1000000000]}",
            "5:10: lenet on 4 devices has a batch of 4000000000. Give a smaller batch.",
        ),
    ],
)
def test_a_wrong_setting_is_reported_with_its_place(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parsed(text)
    assert str(caught.value).startswith(f"s.yaml:{message}")


def test_nodes_are_an_axis_of_every_device() -> None:
    assert cells("nodes: [1, 2]\nprocesses: [1, 2]\nscaling: weak") == [
        ("cpu", 1, 64),
        ("cpu", 2, 128),
        ("cpu", 2, 128),
        ("cpu", 4, 256),
    ]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("nodes: [2]\nwhere: each-node", "measures each node by itself"),
        ("nodes: [1, 2]\ndevices: [gpu]\nwhere: each-gpu", "measures each node by itself"),
        ("where: each-pair", "measures tasks on two nodes"),
        ("nodes: [1, 3]\nwhere: each-pair", "measures tasks on two nodes"),
        ("nodes: [0]", "nodes"),
    ],
)
def test_a_number_of_nodes_that_contradicts_the_placement_is_an_error(
    text: str, complaint: str
) -> None:
    with pytest.raises(ConfigError, match=complaint):
        parsed(text)
