"""A /sys of accelerators that are made up: files as the kernel shows them."""

from collections.abc import Mapping
from pathlib import Path

GIB = 2**30
MI210 = {
    "vendor": "0x1002",
    "device": "0x740f",
    "class": "0x038000",
    "numa_node": "1",
    "product_name": "AMD Instinct MI210",
    "gpu_busy_percent": "87",
    "mem_busy_percent": "41",
    "mem_info_vram_total": str(64 * GIB),
    "mem_info_vram_used": str(3 * GIB),
    "hwmon/hwmon3/name": "amdgpu",
    "hwmon/hwmon3/power1_average": "212000000",
    "hwmon/hwmon3/power1_cap": "300000000",
    "hwmon/hwmon3/temp1_input": "54000",
    "hwmon/hwmon3/freq1_input": "1700000000",
}
XPU = {"vendor": "0x8086", "device": "0x0bda", "class": "0x038000"}
TPU = {"vendor": "0x1ae0", "device": "0x0063", "class": "0x120000"}
NETWORK_CARD = {"vendor": "0x1ae0", "device": "0x0042", "class": "0x020000"}  # Google's, too
DISPLAY = {"vendor": "0x1a03", "device": "0x2000", "class": "0x030000"}  # of a management chip


class MadeUpSys:
    """Files below a folder that stands for /sys."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, files: Mapping[str, str]) -> None:
        for name, text in files.items():
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            (self.root / name).write_text(f"{text}\n")

    def add_device(self, address: str, files: Mapping[str, str], driver: str = "") -> None:
        """Add a device of the PCI bus."""
        folder = f"bus/pci/devices/{address}"
        self.write({f"{folder}/{name}": text for name, text in files.items()})
        if driver:
            (self.root / "bus/pci/drivers" / driver).mkdir(parents=True, exist_ok=True)
            (self.root / folder / "driver").symlink_to(f"../../drivers/{driver}")

    def add_compute_node(
        self, number: int, bus: int = 0, unique_id: int = 0, simds: int = 416
    ) -> None:
        """Add a node of AMD's compute driver. simds: 0 for a CPU. bus: of the PCI address."""
        lines = (
            f"cpu_cores_count {0 if simds else 32}",
            f"simd_count {simds}",
            f"location_id {bus << 8}",
            "domain 0",
            "gfx_target_version 90010",
            f"unique_id {unique_id}",
        )
        folder = f"class/kfd/kfd/topology/nodes/{number}"
        self.write({f"{folder}/properties": "\n".join(lines), f"{folder}/gpu_id": f"{number}77"})

    def add_mi210s(self, count: int) -> None:
        """Add AMD GPUs at 0000:41:00.0 and so on, and the CPU's compute node."""
        self.add_compute_node(0, simds=0)
        for number in range(1, count + 1):
            bus = 0x40 + number
            self.add_device(f"0000:{bus:02x}:00.0", MI210, "amdgpu")
            self.add_compute_node(number, bus, 0xABC0 + number)
