"""Machines with accelerators that are made up: a fake NVML, and a /sys of the test's own."""

import os
import sys
from pathlib import Path

import pytest

from velodrome.agents.sampling import amd_gpus, pci_accelerators

sys.path.append(str(Path(__file__).parent))  # there is no package of tests

from made_up_sys import MadeUpSys


@pytest.fixture
def sys_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MadeUpSys:
    """A /sys with a CPU alone, no GPU driver, and variables that give a process all GPUs."""
    (tmp_path / "sys" / "bus" / "pci" / "devices").mkdir(parents=True)
    (tmp_path / "kfd").touch()
    (tmp_path / "empty").mkdir()
    monkeypatch.setattr(pci_accelerators, "SYS", tmp_path / "sys")
    monkeypatch.setattr(amd_gpus, "COMPUTE_DEVICE", tmp_path / "kfd")
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path / "empty"))
    for name in list(os.environ):
        if name.endswith("_VISIBLE_DEVICES") or name == "VELODROME_PYTHON_TORCH":
            monkeypatch.delenv(name)
    return MadeUpSys(tmp_path / "sys")
