"""The whole GPU check, with a made-up driver and NumPy in a framework's place."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from velodrome.scheduler.results.store import Store

CHECK = [sys.executable, "-m", "velodrome.scheduler.gpu_check", "run"]
FRAMEWORKS = Path(__file__).parents[2] / "fleet" / "frameworks"
UUID = "GPU-fa4e0000-0000-0000-0000-000000000000"
STATE = """\
0 power_mw 250000
0 energy_mj 0:0 100000:25000000000
0 gpu_percent 90
0 sm_mhz 1980
0 used_mib 2000
0 temperature_c 40
0 limit_mw 700000
0 persistence 1
0 ecc 1:1
"""
NVIDIA_SMI = f"""#!/bin/sh
echo "{UUID}, NVIDIA H100 80GB HBM3, 999.1-fake, TOTAL, 700.00, Enabled, Enabled, [N/A], \
2000, 40, 250.0, 1980, 90"
"""
# The made-up driver does not see who uses the GPU: the process tells it.
OCCUPIES = """
import os, sys
with open(os.environ["FAKE_NVML_STATE"], "a") as state:
    state.write(f"0 process {os.getpid()}:700\\n")
print("ready", flush=True)
sys.stdin.read()
"""


def prepare(folder: Path, driver: Path, total_mib: int) -> dict[str, str]:
    """Write nvidia-smi, a python3 without frameworks and the driver's state; return variables."""
    (folder / "occupies.py").write_text(OCCUPIES)
    (folder / "state").write_text(STATE)
    programs = folder / "bin"
    programs.mkdir()
    (programs / "nvidia-smi").write_text(NVIDIA_SMI.replace("TOTAL", str(total_mib)))
    (programs / "python3").write_text("#!/bin/sh\nexit 1\n")
    for program in programs.iterdir():
        program.chmod(0o755)
    return os.environ | {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "LD_LIBRARY_PATH": str(driver),
        "FAKE_NVML": "NVIDIA H100 80GB HBM3:1",
        "FAKE_NVML_STATE": str(folder / "state"),
        "FAKE_NVML_START": str(time.monotonic()),
        "VELODROME_ADAPTERS": str(FRAMEWORKS),
        "VELODROME_HOME": str(folder / "home"),
        "VELODROME_PYTHON_NUMPY_GPU": sys.executable,
    }


def check(variables: Mapping[str, str], *options: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*CHECK, *options], env=variables, capture_output=True, text=True)


@pytest.mark.slow
def test_every_step_runs_to_its_end_and_leaves_rows_and_figures(
    fake_driver: Path, tmp_path: Path
) -> None:
    variables = prepare(tmp_path, fake_driver, 81920)
    done = check(
        variables,
        *("--out", str(tmp_path / "found"), "--model", "probe-lrn", "--dtype", "float32"),
        *("--framework", "numpy_gpu", "--framework", "jax", "--phase-seconds", "0.1"),
        *("--pairs", "1", "--foreign-command", f"{sys.executable} {tmp_path / 'occupies.py'}"),
    )
    figures = json.loads((tmp_path / "found" / "gpu-check.json").read_text())
    steps = {step["name"]: step for step in figures["steps"]}
    assert list(steps) == [
        "inventory",
        "doctor",
        "nvidia-smi",
        "jax",
        "numpy_gpu probe-lrn float32",
        "energy",
        "foreign process",
        "cost of sampling",
    ]
    verdicts = {name: step["verdict"] for name, step in steps.items()}
    assert verdicts.pop("jax") == "skipped"
    assert "VELODROME_PYTHON_JAX=/path/to/python" in steps["jax"]["text"]
    if not steps["energy"]["text"].endswith("has a gap"):  # a busy machine holds the sampler back
        assert steps["energy"]["figures"]["ratio"] == pytest.approx(1, abs=0.05)
        assert set(verdicts.values()) == {"passed"}, done.stdout
        assert done.returncode == 0
    if os.readlink("/proc/self/ns/pid") == "pid:[4026531836]":  # noqa: PTH115
        assert f"pid {steps['foreign process']['figures']['pid']} (" in done.stdout
    assert figures["gpu"]["uuid"] == UUID
    page = (tmp_path / "found" / "gpu-check.md").read_text()
    assert "| numpy_gpu probe-lrn float32 | passed |" in page
    tasks = Store.for_reading(tmp_path / "found" / "results").read("tasks")
    assert tasks["gpu_uuids"].to_pylist() == [[UUID]] * 5


@pytest.mark.slow
def test_a_failed_step_is_in_the_exit_status_and_steps_without_time_are_named(
    fake_driver: Path, tmp_path: Path
) -> None:
    variables = prepare(tmp_path, fake_driver, 40960)
    done = check(
        variables,
        *("--out", str(tmp_path / "found"), "--framework", "numpy_gpu", "--budget", "9s"),
        *("--model", "alexnet", "--dtype", "float32"),
    )
    assert done.returncode == 1, done.stderr
    assert "failed: nvidia-smi" in done.stdout
    assert "memory.total: 40960.0, ours 81920.0 to 81920.0" in done.stdout
    assert "passed: inventory" in done.stdout
    assert "left out: numpy_gpu alexnet float32" in done.stdout
    assert "needs 20 s" in done.stdout


@pytest.mark.slow
def test_a_machine_without_a_gpu_is_told_so_at_once_by_few_packages(tmp_path: Path) -> None:
    if Path("/proc/driver/nvidia").exists():
        pytest.skip("needs a machine without a GPU")
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *CHECK[1:], "--out", tmp_path / "found"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stdout.startswith("no GPU to check: ")
    assert not (tmp_path / "found").exists()
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "pyarrow" in imported
    assert not imported & {"ray", "scipy", "duckdb", "altair", "ruptures", "jinja2"}
