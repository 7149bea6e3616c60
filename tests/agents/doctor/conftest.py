"""A made-up machine: files of /proc and /sys below a folder of the test's own."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from velodrome.agents.doctor.proc_sys_files import Kernel

Machine = Callable[[Mapping[str, str]], Kernel]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Files are added to those of an earlier call; paths may hold {cpu} for cpu0 to cpu3."""

    def write(files: Mapping[str, str]) -> Kernel:
        for named, text in files.items():
            for path in {named.replace("{cpu}", f"cpu{cpu}") for cpu in range(4)}:
                (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / path).write_text(text)
        return Kernel(tmp_path)

    return write
