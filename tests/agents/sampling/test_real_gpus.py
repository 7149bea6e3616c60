"""Figures of a real driver, on a machine with a GPU: `pytest -m gpu tests/agents/sampling`."""

import os
import subprocess
import sys

import pytest

from velodrome.agents.inventory import take_inventory
from velodrome.agents.measurement import Reading
from velodrome.agents.node import Gpu
from velodrome.agents.sampling.energy import gpu_energy
from velodrome.agents.sampling.sampler import Sampler

SECONDS = 4


@pytest.fixture(scope="module")
def gpus() -> tuple[Gpu, ...]:
    return take_inventory().gpus or pytest.skip("needs a GPU")


@pytest.fixture(scope="module")
def sampler(gpus: tuple[Gpu, ...]) -> Sampler:
    """Sample four seconds of a process that uses no GPU."""
    command = [sys.executable, "-S", "-c", f"import time; time.sleep({SECONDS})"]
    with subprocess.Popen(command) as worker, Sampler(worker.pid, gpus=gpus) as sampler:
        # Not waited for: what it used is gone with it.
        os.waitid(os.P_PID, worker.pid, os.WEXITED | os.WNOWAIT)
    return sampler


def list_figures(readings: tuple[Reading, ...], gpu: Gpu, name: str) -> list[float]:
    figures = (getattr(one, name) for each in readings for one in each.gpus if one.uuid == gpu.uuid)
    return [figure for figure in figures if figure is not None]


@pytest.mark.gpu
def test_figures_of_a_real_gpu_are_plausible(sampler: Sampler, gpus: tuple[Gpu, ...]) -> None:
    for gpu in gpus:
        assert gpu.uuid.startswith(("GPU-", "MIG-"))
        assert all(
            0 <= used <= gpu.memory_bytes
            for used in list_figures(sampler.readings, gpu, "memory_bytes")
        )
        assert all(
            0 < degrees < 120 for degrees in list_figures(sampler.readings, gpu, "temperature_c")
        )
        assert all(100 <= mhz < 5000 for mhz in list_figures(sampler.readings, gpu, "sm_mhz"))
        assert all(
            0 <= percent <= 100 for percent in list_figures(sampler.readings, gpu, "percent")
        )
        assert all(1 < watts < 2000 for watts in list_figures(sampler.readings, gpu, "power_w"))
        energy = list_figures(sampler.readings, gpu, "energy_mj")
        assert energy == sorted(energy)
        assert len(list_figures(sampler.readings, gpu, "memory_bytes")) >= SECONDS


@pytest.mark.gpu
def test_energy_counter_and_power_of_a_real_gpu_agree(sampler: Sampler) -> None:
    readings = sampler.readings
    found = gpu_energy(readings, [(readings[0].at_ns + 10**9, readings[-1].at_ns - 5 * 10**8)])
    if found.source != "measured":
        pytest.skip(found.reason)
    assert found.joules is not None
    assert found.joules > 0
    # Of an idle GPU both are less exact than of one that works.
    assert found.deviation_percent is None or abs(found.deviation_percent) < 50


@pytest.mark.gpu
def test_sampling_a_real_gpu_takes_two_percent_of_a_core_at_most(sampler: Sampler) -> None:
    assert sampler.cost_cpu_seconds < 0.3 + 0.02 * SECONDS  # its start, then the readings
