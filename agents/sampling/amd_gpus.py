"""The inventory of AMD GPUs, by the files of the kernel's amdgpu driver.

ROCm counts the nodes of the compute driver (/sys/class/kfd) that have SIMD units, in their order,
and skips those that a container or a job may not read. ROCR_VISIBLE_DEVICES takes their numbers, or
`GPU-` and their unique_id in 16 hexadecimal digits; GPUs older than GFX9 have none (ROCm, "GPU
isolation techniques"; kernel, "AMDGPU Driver": unique_id).

Never run on an AMD GPU: tested on made-up files.
"""

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from velodrome.agents.node import AMD_MAKER, Gpu
from velodrome.agents.sampling import pci_accelerators
from velodrome.agents.sampling.driver_faults import DriverFault
from velodrome.agents.sampling.pci_accelerators import AMD, list_accelerators, read_line

NODES = Path("class", "kfd", "kfd", "topology", "nodes")
COMPUTE_DEVICE = Path("/dev/kfd")
RIGHTS = (
    "Add this user to the groups render and video; start a container with --device=/dev/kfd "
    "--device=/dev/dri"
)
LOAD = "Run `sudo modprobe amdgpu`; if that fails, reinstall AMD's driver for this kernel"


@dataclass(frozen=True)
class AmdDevice:
    """A GPU of the compute driver. folder: of its PCI device. number: of the compute driver."""

    gpu: Gpu
    folder: Path
    number: str


@dataclass(frozen=True)
class AmdState:
    """AMD GPUs that ROCm can use, and why others cannot be used."""

    gpus: tuple[Gpu, ...] = ()
    faults: tuple[DriverFault, ...] = ()


def query_amd_gpus(sys: Path | None = None, compute_device: Path | None = None) -> AmdState:
    """List the GPUs. sys, compute_device: in place of /sys and /dev/kfd."""
    root, device = sys or pci_accelerators.SYS, compute_device or COMPUTE_DEVICE
    found = list_amd_devices(root)
    shared = Counter(one.folder.name for one in found)
    usable = tuple(one.gpu for one in found if shared[one.folder.name] == 1)
    faults = [
        DriverFault(
            f"the AMD GPU at {address}",
            f"is divided into {count} partitions, which are not told apart",
            "Undo it: `sudo amd-smi set --compute-partition SPX`",
        )
        for address, count in shared.items()
        if count > 1
    ]
    if usable and not os.access(device, os.R_OK | os.W_OK):
        fault = DriverFault(
            "the AMD driver", f"denies this user access to {COMPUTE_DEVICE}", RIGHTS
        )
        return AmdState(faults=(fault, *faults))
    return AmdState(usable, (*faults, *_find_driverless(root)))


def _find_driverless(sys: Path) -> list[DriverFault]:
    return [
        DriverFault(f"the {one.name} at {one.address}", "has no loaded kernel module", LOAD)
        for one in list_accelerators(sys)
        if one.vendor == AMD and not one.driver
    ]


def list_amd_devices(sys: Path | None = None) -> tuple[AmdDevice, ...]:
    """List the GPUs that the compute driver shows this process, in ROCm's order."""
    root = sys or pci_accelerators.SYS
    folder = root / NODES
    entries = folder.iterdir() if folder.is_dir() else ()
    places = sorted((one for one in entries if one.name.isdigit()), key=lambda one: int(one.name))
    read = ((place, _read_properties(place / "properties")) for place in places)
    computing = [(place, properties) for place, properties in read if properties.get("simd_count")]
    return tuple(
        _describe(root, place, properties, index)
        for index, (place, properties) in enumerate(computing)
    )


def _read_properties(file: Path) -> dict[str, int]:
    """Read lines of a name and a number; empty if this process may not see that GPU."""
    try:
        lines = file.read_text(errors="replace").splitlines()
    except OSError:
        return {}
    pairs = (line.split() for line in lines)
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


def _describe(sys: Path, node: Path, properties: Mapping[str, int], index: int) -> AmdDevice:
    address = _address(properties)
    folder = sys / "bus" / "pci" / "devices" / address
    unique = properties.get("unique_id", 0)
    numa_node = read_line(folder / "numa_node")
    gpu = Gpu(
        index=index,
        name=_name(folder, properties),
        uuid=f"GPU-{unique:016x}" if unique else f"AMD-{address}",
        memory_bytes=_number(folder / "mem_info_vram_total") or 0,
        driver=f"amdgpu {read_line(sys / 'module' / 'amdgpu' / 'version')}".strip(),
        power_limit_w=_power_limit_w(folder),
        numa_node=int(numa_node) if numa_node.isdigit() else None,
    )
    return AmdDevice(gpu, folder, read_line(node / "gpu_id"))


def _address(properties: Mapping[str, int]) -> str:
    """Build the PCI address; location_id is the kernel's pci_dev_id: bus, device, function."""
    place = properties.get("location_id", 0)
    bus, device, function = place >> 8, place >> 3 & 0x1F, place & 7
    return f"{properties.get('domain', 0):04x}:{bus:02x}:{device:02x}.{function}"


def _name(folder: Path, properties: Mapping[str, int]) -> str:
    """Name the product, which boards for servers state, else the architecture and the model."""
    product = read_line(folder / "product_name")
    if not product:
        model = read_line(folder / "device").removeprefix("0x")
        product = f"{_architecture(properties.get('gfx_target_version', 0))} {model}".strip()
    return AMD_MAKER + (product[4:] if product.lower().startswith("amd ") else product)


def _architecture(version: int) -> str:
    """Name an architecture as compilers do: 90010 is gfx90a."""
    major, minor, step = version // 10000, version // 100 % 100, version % 100
    return f"gfx{major}{minor:x}{step:x}"


def _power_limit_w(folder: Path) -> float | None:
    limits = (_number(file) for file in sorted(folder.glob("hwmon/hwmon*/power1_cap")))
    return next((limit / 1e6 for limit in limits if limit), None)


def _number(file: Path) -> int | None:
    text = read_line(file)
    return int(text) if text.isdigit() else None
