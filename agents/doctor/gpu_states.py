"""Records of each GPU's settings and state, restored from JSON; nothing is queried here."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from velodrome.agents.sampling.driver_faults import DriverFault


@dataclass(frozen=True)
class GpuState:
    """One GPU. None: not stated. Clocks are application clocks, which the SMs follow.

    pids: of all processes on it.
    """

    index: int
    name: str
    is_persistent: bool | None = None
    ecc: tuple[bool, bool] | None = None  # now, and from the next start on
    compute_mode: int | None = None
    clock_mhz: int | None = None
    default_clock_mhz: int | None = None
    limit_w: float | None = None
    default_limit_w: float | None = None
    mig: tuple[bool, bool] | None = None  # now, and from the next reset on
    pids: tuple[int, ...] | None = None
    throttle_reasons: int | None = None


@dataclass(frozen=True)
class GpuStates:
    """All GPUs. sees_all: the driver shows others' processes, which it hides in a container.

    faults: of the driver, or of GPUs, which may then be missing. pci_bus_ids: as in
    velodrome.agents.sampling.gpus.list_bus_ids.
    """

    driver: str
    cuda_major: int | None
    gpus: tuple[GpuState, ...]
    sees_all: bool
    faults: tuple[DriverFault, ...] = ()
    pci_bus_ids: tuple[str, ...] = ()

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> "GpuStates":
        """Restore from JSON fields."""
        states = [{key: _plain(value) for key, value in gpu.items()} for gpu in fields["gpus"]]
        faults = tuple(DriverFault(**fault) for fault in fields["faults"])
        gpus = tuple(GpuState(**state) for state in states)
        addresses = tuple(fields["pci_bus_ids"])
        return cls(**{**fields, "gpus": gpus, "faults": faults, "pci_bus_ids": addresses})


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
