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
DRIVERLESS = "this process finds no driver of NVIDIA"
HIDDEN = "its compute driver (/dev/kfd) does not show it to this process"


def describe_other_accelerators(
    used: Collection[str] = (), *, has_nvidia: bool = False, sys: Path | None = None
) -> str:
    """Describe all accelerators but NVIDIA's, and AMD's without a driver: these are faults.

    used: PCI addresses of AMD GPUs that tasks can use. has_nvidia: tasks use NVIDIA's GPUs. sys: in
    place of /sys. Empty: there is none.
    """
    unused = [one for one in list_accelerators(sys) if one.address not in used]
    texts = list(_describe(unused, has_nvidia=has_nvidia))
    if apple := find_apple_gpu(sys):
        texts.append(f"{apple} ({APPLE})")
    return _count(texts)


def describe_driverless_nvidia(sys: Path | None = None) -> str:
    """Describe GPUs of NVIDIA on a machine, or in a container, without their driver."""
    found = [one for one in list_accelerators(sys) if one.vendor == NVIDIA]
    return _count([f"{one.name} ({DRIVERLESS})" for one in found])


def _count(texts: Collection[str]) -> str:
    """Join the texts, equal ones once with their number."""
    counted = Counter(texts).items()
    return ", ".join(f"{count} x {text}" if count > 1 else text for text, count in counted)


def _describe(devices: Collection[PciAccelerator], *, has_nvidia: bool) -> Iterator[str]:
    for one in devices:
        if one.vendor == NVIDIA or (one.vendor == AMD and not one.driver):
            continue
        reason = REASONS.get(one.vendor) or (BESIDE if has_nvidia else HIDDEN)
        yield f"{one.name} ({reason})"
