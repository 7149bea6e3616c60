import shutil
from pathlib import Path

from velodrome.agents.environments.disk_layout import Record, write_record
from velodrome.agents.environments.disk_space import free_bytes
from velodrome.agents.inventory import take_inventory

TB = 10**12
OTHERS_BYTES = 10**9  # what others may write meanwhile


def test_an_existing_environment_counts_as_free_space(tmp_path: Path) -> None:
    root = tmp_path / "envs"
    free = shutil.disk_usage(tmp_path).free
    assert abs(free_bytes(root) - free) < OTHERS_BYTES  # not made yet: its disk is known
    folder = root / "torch-abc"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").touch()
    write_record(folder, Record("torch", "abc", "", "3.12", size_bytes=TB))
    assert abs(free_bytes(root) - free - TB) < OTHERS_BYTES
    assert abs(take_inventory(environments=root).free_disk_bytes - free - TB) < OTHERS_BYTES
