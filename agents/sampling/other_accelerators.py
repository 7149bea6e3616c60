"""Accelerators that no task can use, in words, with the reason."""

from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path

from velodrome.agents.sampling.pci_accelerators import (
    AMD,
    GOOGLE,
    HABANA,
    INTEL,
    NVIDIA,
    PciAccelerator,
    find_apple_gpu,
    list_accelerators,
)

REASONS = {
    INTEL: "no framework is locked for XPU",
    HABANA: "no framework is locked for Gaudi",
    GOOGLE: "no framework is locked for TPUs",
}
APPLE = "no framework is locked for Apple's GPUs"
BESIDE = "not used beside NVIDIA's"
HIDDEN = "its compute driver (/dev/kfd) does not show it to this process"


def describe_other_accelerators(
    used: Collection[str] = (), *, has_nvidia: bool = False, sys: Path | None = None
) -> str:
    """Describe all accelerators but NVIDIA's, and AMD's without a driver: these are faults.

    used: PCI addresses of AMD GPUs that tasks can use. has_nvidia: tasks use NVIDIA's GPUs. sys: in
    place of /sys. Empty: there is none.
    """
    unused = [one for one in list_accelerators(sys) if one.address not in used]
    counted = Counter(_describe(unused, has_nvidia=has_nvidia))
    if apple := find_apple_gpu(sys):
        counted[f"{apple} ({APPLE})"] = 1
    return ", ".join(f"{count} x {text}" if count > 1 else text for text, count in counted.items())


def _describe(devices: Collection[PciAccelerator], *, has_nvidia: bool) -> Iterator[str]:
    for one in devices:
        if one.vendor == NVIDIA or (one.vendor == AMD and not one.driver):
            continue
        reason = REASONS.get(one.vendor) or (BESIDE if has_nvidia else HIDDEN)
        yield f"{one.name} ({reason})"
