"""One reading of each GPU by the sampler's own meter, in the process that queries the driver."""

import pynvml

from velodrome.agents.sampling.driver_faults import DRIVER
from velodrome.agents.sampling.gpu_meter import GpuMeter
from velodrome.agents.sampling.gpus import DriverQueries, usable_gpus

FIGURES = ("percent", "memory_bytes", "power_w", "temperature_c", "sm_mhz", "energy_mj")


def query() -> dict[str, object]:
    """Return {UUID: {figure: value}} of every usable GPU."""
    queries = DriverQueries()
    release = str(queries.require(DRIVER, pynvml.nvmlSystemGetDriverVersion) or "")
    return {gpu.uuid: _read(gpu.index, gpu.uuid) for gpu in usable_gpus(queries, release)}


def _read(index: int, uuid: str) -> dict[str, object]:
    reading = vars(GpuMeter([(index, uuid)]).read(())[0])
    return {figure: reading[figure] for figure in FIGURES}
