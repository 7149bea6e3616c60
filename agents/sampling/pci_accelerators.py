"""Accelerators of all makers on the PCI bus, by the files of the kernel; no driver is called."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SYS = Path("/sys")
NVIDIA, AMD, INTEL, HABANA, GOOGLE = "0x10de", "0x1002", "0x8086", "0x1da3", "0x1ae0"
# Base classes of the PCI Code and ID Assignment Specification: display, processing accelerators.
DISPLAY, ACCELERATOR = "0x03", "0x12"
# Google's network cards and disks have its vendor number, too. Source: jax/_src/hardware_utils.py.
TPUS = {
    "0x0027": "v3",
    "0x005e": "v4",
    "0x0062": "v5p",
    "0x0063": "v5e",
    "0x006f": "v6e",
    "0x0076": "7x",
}


@dataclass(frozen=True)
class PciAccelerator:
    """One device. vendor, model: its numbers, as `0x1002`. driver: bound to it; empty: none."""

    address: str
    vendor: str
    model: str
    kind: str
    driver: str

    @property
    def name(self) -> str:
        """Its maker and model: names of models are not in the kernel's files."""
        if self.vendor == GOOGLE:
            return f"Google TPU {TPUS[self.model]}"
        kind = "GPU" if self.kind.startswith(DISPLAY) or self.vendor == AMD else "accelerator"
        maker = {AMD: "AMD", INTEL: "Intel", HABANA: "Intel Gaudi", NVIDIA: "NVIDIA"}[self.vendor]
        return f"{maker} {kind} {self.model.removeprefix('0x')}"


def list_accelerators(sys: Path | None = None) -> tuple[PciAccelerator, ...]:
    """List them by address. sys: in place of SYS."""
    folder = (sys or SYS) / "bus" / "pci" / "devices"
    found = (_read_device(place) for place in (folder.iterdir() if folder.is_dir() else ()))
    return tuple(sorted(filter(_is_accelerator, found), key=lambda device: device.address))


def find_apple_gpu(sys: Path | None = None) -> str:
    """Name the GPU of an Apple chip under Linux, which is on no PCI bus; empty: there is none."""
    drivers = (card / "device" / "driver" for card in _list_cards(sys or SYS))
    return "Apple GPU" if any(_name_of_link(driver) == "asahi" for driver in drivers) else ""


def read_line(path: Path) -> str:
    """Read a one-line file; empty if it is missing or unreadable."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


def _read_device(place: Path) -> PciAccelerator:
    vendor, model, kind = (read_line(place / name) for name in ("vendor", "device", "class"))
    return PciAccelerator(place.name, vendor, model, kind, _name_of_link(place / "driver"))


def _is_accelerator(device: PciAccelerator) -> bool:
    if device.vendor == GOOGLE:
        return device.model in TPUS
    # Display controllers of other makers, as in servers' management chips, compute nothing.
    computes = device.kind.startswith((DISPLAY, ACCELERATOR))
    return computes and device.vendor in (NVIDIA, AMD, INTEL, HABANA)


def _list_cards(sys: Path) -> Iterator[Path]:
    yield from (sys / "class" / "drm").glob("card[0-9]")


def _name_of_link(link: Path) -> str:
    try:
        return link.readlink().name
    except OSError:
        return ""
