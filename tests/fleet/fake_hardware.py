"""Stand-ins for hardware at the lowest layer, so that every program finds it.

Cores by affinity, the CPU's model by /proc/cpuinfo, GPUs by a libnvidia-ml.so.1 (tests/fake_nvml).
"""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from namespace_hosts import Hardware

from velodrome.agents import cpu_topology

NVML_SOURCE = Path(__file__).parents[1] / "fake_nvml" / "fake_nvml.c"


@dataclass(frozen=True)
class Host:
    """A host's hardware. cores: physical. gpus: as in `NVIDIA A100-SXM4-80GB:2,NVIDIA L40S:1`.

    variables, ray_words: with which its Ray starts.
    """

    name: str
    cores: int = 1
    cpu_model: str = ""
    gpus: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    ray_words: Sequence[str] = ()


def hardware_of(host: Host, number: int, folder: Path) -> Hardware:
    """Return a host's hardware; each number gets other cores. ValueError: too few cores."""
    cores = cpu_topology.cores(os.sched_getaffinity(0))
    if host.cores > len(cores):
        raise ValueError(f"{host.name} cannot have {host.cores} cores of {len(cores)}")
    turned = [cores[(number + index) % len(cores)] for index in range(host.cores)]
    cpus = tuple(cpu for core in turned for cpu in core.cpus)
    return Hardware(cpus, _cpuinfo(host, folder) if host.cpu_model else None)


def compiler() -> str | None:
    return shutil.which("cc") or shutil.which("gcc")


def fake_nvml(folder: Path) -> Path:
    """Build a libnvidia-ml.so.1 and return its folder, for LD_LIBRARY_PATH."""
    place = folder / "nvml"
    place.mkdir()
    library = place / "libnvidia-ml.so.1"
    subprocess.run([compiler() or "cc", "-shared", "-fPIC", "-o", library, NVML_SOURCE], check=True)
    return place


def _cpuinfo(host: Host, folder: Path) -> Path:
    text = Path("/proc/cpuinfo").read_text()
    named = re.sub(r"(?m)^(model name\s*: ).*$", lambda found: found[1] + host.cpu_model, text)
    if named == text and host.cpu_model not in text:  # a kernel that names none, as on ARM
        named = f"model name\t: {host.cpu_model}\n{text}"
    path = folder / f"{host.name}.cpuinfo"
    path.write_text(named)
    return path
