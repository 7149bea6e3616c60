"""How each GPU is set and what it does, as far as its driver tells."""

from dataclasses import dataclass


@dataclass(frozen=True)
class GpuState:
    """None: the driver does not tell. Clocks are application clocks, which the SMs follow.

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
    """sees_all: whether the driver shows processes of others, which it does not in a container."""

    driver: str
    cuda_major: int | None
    gpus: tuple[GpuState, ...]
    sees_all: bool
