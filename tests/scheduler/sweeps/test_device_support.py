"""Reasons for the devices that frameworks do not run on."""

from pathlib import Path

import pytest

from velodrome.adapters.registry import FRAMEWORKS, Framework
from velodrome.scheduler.sweeps.device_support import explain_missing_devices

REASON = 'status = "unsupported"\nreason = "its last build is for CUDA 10"\n'


def framework(folder: Path, text: str) -> Framework:
    (folder / "expected.toml").write_text(text)
    return Framework("mine", "mine", ("eager",), ("cpu",), "mine.adapter", str(folder))


def test_the_entry_for_a_device_alone_is_the_reason(tmp_path: Path) -> None:
    narrower = f'[[expected]]\ndevice = "gpu"\nmodel = "lenet"\n{REASON.replace("10", "9")}'
    mine = framework(tmp_path, f'{narrower}[[expected]]\ndevice = "gpu"\n{REASON}')
    assert explain_missing_devices(mine) == {"gpu": "no gpu path: its last build is for CUDA 10"}


@pytest.mark.parametrize("text", ["", "[[expected", "expected = 3", "expected = [3]"])
def test_without_a_readable_entry_the_device_alone_is_named(tmp_path: Path, text: str) -> None:
    assert explain_missing_devices(framework(tmp_path, text)) == {"gpu": "no gpu path"}


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_every_framework_states_why_it_does_not_run_on_gpus(name: str) -> None:
    found = explain_missing_devices(FRAMEWORKS[name])
    assert all(text.startswith("no gpu path: ") for text in found.values())
    assert bool(found) == ("gpu" not in FRAMEWORKS[name].devices)
