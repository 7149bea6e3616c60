"""Reasons for the devices that a framework does not run on, from its `expected.toml`.

The entry with `device` as its only condition holds the reason:

    [[expected]]
    device = "gpu"
    status = "unsupported"
    reason = "its last build is for CUDA 10"
"""

import tomllib
from pathlib import Path

from velodrome.adapters.registry import Framework

FILE_NAME = "expected.toml"
DEVICES = ("cpu", "gpu")
_KEYS = {"device", "status", "reason"}


def explain_missing_devices(framework: Framework) -> dict[str, str]:
    """Map each device that the framework does not run on to `no gpu path: REASON`."""
    missing = [device for device in DEVICES if device not in framework.devices]
    reasons = _read_reasons(Path(framework.folder) / FILE_NAME) if missing else {}
    return {
        device: f"no {device} path" + (f": {reasons[device]}" if device in reasons else "")
        for device in missing
    }


def _read_reasons(path: Path) -> dict[str, str]:
    """Read the reason of each device; none from a file with a fault, which a run reports."""
    try:
        entries = tomllib.loads(path.read_text()).get("expected", [])
        return {
            str(entry["device"]): str(entry["reason"])
            for entry in entries
            if set(entry) == _KEYS and entry["status"] == "unsupported"
        }
    except (OSError, ValueError, AttributeError, TypeError):
        return {}
