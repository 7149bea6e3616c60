"""The shared libraries that a worker gets, and those that its row reports."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from velodrome.adapters.protocol import Timing
from velodrome.agents.environments.store import EnvironmentStore
from velodrome.agents.execution import execute
from velodrome.agents.inventory import take_inventory
from velodrome.agents.isolation.driver_libraries import driver_library_variables
from velodrome.agents.isolation.mapped_libraries import (
    library_notes,
    mapped_libraries,
    parse_libraries,
)
from velodrome.agents.measurement import Measurement
from velodrome.agents.task import Limits, Task

MAPS = """\
55d0-55d1 r-xp 00000000 fe:00 16 /opt/env/bin/python3.11
7f00-7f01 r-xp 00000000 fe:00 17 /opt/env/lib/libtorch.so
7f01-7f02 rw-p 00001000 fe:00 17 /opt/env/lib/libtorch.so
7f02-7f03 rw-p 00000000 00:00 0
7f03-7f04 r-xp 00000000 fe:00 18 /usr/lib/x86_64-linux-gnu/libc.so.6
7f04-7f05 r--p 00000000 fe:00 19 /usr/lib/locale/C.utf8/LC_CTYPE
7f05-7f06 r-xp 00000000 fe:00 20 /opt/a folder/libcudnn.so.9.1.0
"""
ENVIRONMENT, INTERPRETER = Path("/opt/env"), Path("/opt/python")
LOCKED = (
    "lib/libpython3.11.so.1.0",
    "lib/libtorch.so",
    "nvidia/cudnn/lib/libcudnn.so.9",
    "lib/libgomp.so.1",
)


def notes_on(*mapped: str) -> tuple[str, ...]:
    return library_notes(mapped, LOCKED, (ENVIRONMENT, INTERPRETER))


def test_libraries_are_read_from_the_kernels_memory_map() -> None:
    assert set(parse_libraries(MAPS)) == {
        "/opt/env/lib/libtorch.so",
        "/usr/lib/x86_64-linux-gnu/libc.so.6",
        "/opt/a folder/libcudnn.so.9.1.0",
    }
    assert any("/libc.so" in path for path in mapped_libraries(os.getpid()))
    assert mapped_libraries(2**30) == frozenset()


def test_a_workers_own_libraries_are_not_reported() -> None:
    own = ("/opt/env/lib/libtorch.so", "/opt/python/lib/libpython3.11.so.1.0")
    assert notes_on(*own, "/usr/lib/x86_64-linux-gnu/libc.so.6", "/lib64/libcuda.so.550.54") == ()


def test_a_library_that_replaces_a_locked_one_is_reported_wherever_it_lies() -> None:
    for path in ("/opt/cuda/lib64/libcudnn.so.9.1.0", "/usr/lib/libcudnn.so.9"):
        assert notes_on(path) == (f"its packages' own libraries were replaced by {path}",)


def test_a_library_loaded_beside_its_locked_namesake_replaces_nothing() -> None:
    assert notes_on("/opt/env/lib/libgomp.so.1", "/usr/lib/libgomp.so.1.0.0") == ()


def test_a_library_from_elsewhere_is_reported() -> None:
    words = "libraries from outside its environment and the system:"
    assert notes_on("/home/me/libfast.so") == (f"{words} /home/me/libfast.so",)
    many = tuple(f"/home/me/lib{number}.so" for number in range(9))
    assert notes_on(*many)[0].endswith("/home/me/lib4.so and 4 more")


def test_only_the_driver_is_passed_on_from_the_shells_library_folders(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    names = ("libcuda.so.1", "libnvidia-ml.so.1", "libcudnn.so.9", "libcudart.so.12", "libc.so.6")
    for folder in (first, second):
        folder.mkdir()
        for name in names:
            (folder / name).touch()
    made = driver_library_variables(
        {"LD_LIBRARY_PATH": f"{first}::{second}:/no/such"}, tmp_path / "driver"
    )
    assert made == {"LD_LIBRARY_PATH": str(tmp_path / "driver")}
    links = {link.name: link.readlink().parent for link in (tmp_path / "driver").iterdir()}
    assert links == {"libcuda.so.1": first, "libnvidia-ml.so.1": first}


def test_library_folders_without_a_driver_are_not_passed_on(tmp_path: Path) -> None:
    (tmp_path / "libcudnn.so.9").touch()
    assert driver_library_variables({"LD_LIBRARY_PATH": str(tmp_path)}, tmp_path / "driver") == {}
    assert driver_library_variables({}, tmp_path / "driver") == {}


def run(framework: str, home: Path) -> Measurement:
    timing = Timing(target=0.9, min_samples=3, min_seconds=0.0, max_seconds=0.5)
    task = Task(framework, "float64", "canary", 2, timing=timing, limits=Limits(deadline_s=60))
    return execute(
        task,
        node=take_inventory("this"),
        repeat=0,
        attempt=1,
        environments=EnvironmentStore(home / "envs"),
        on_event=lambda event: None,
    )


@pytest.mark.slow
def test_a_row_names_a_library_that_the_worker_loaded_from_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc") or pytest.skip("needs a C compiler")
    source, library = tmp_path / "odd.c", tmp_path / "libodd.so"
    source.write_text("int odd(void) { return 3; }\n")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
    folder = tmp_path / "adapters" / "odd"
    folder.mkdir(parents=True)
    faulty = Path(__file__).parents[2] / "faulty" / "sleepy" / "environment.toml"
    (folder / "environment.toml").write_text(faulty.read_text())
    (folder / "adapter.py").write_text(
        "import ctypes\n"
        "from velodrome.adapters.frameworks.numpy.adapter import Adapter  # noqa: F401\n"
        f"ctypes.CDLL({str(library)!r})\n"
    )
    monkeypatch.setenv("VELODROME_ADAPTERS", str(tmp_path / "adapters"))
    for name in ("ODD", "NUMPY"):
        monkeypatch.setenv(f"VELODROME_PYTHON_{name}", sys.executable)
    monkeypatch.setenv("LD_LIBRARY_PATH", "/no/such/folder")
    notes = run("odd", tmp_path / "home").notes
    assert f"libraries from outside its environment and the system: {library}" in notes
    assert "it got LD_LIBRARY_PATH=/no/such/folder from the shell" in notes
