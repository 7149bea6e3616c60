"""How much room there is for environments."""

import shutil
from pathlib import Path

from velodrome.agents.environments.disk_layout import complete


def room_bytes(root: Path) -> int:
    """What is free where they are kept, and what they take already; 0 if it cannot be told.

    With what they take, so that a node has room for an environment that stands on it.
    """
    there = next((folder for folder in (root, *root.parents) if folder.is_dir()), root)
    try:
        free = shutil.disk_usage(there).free
        taken = sum(record.size_bytes for _, record in complete(root))
    except OSError:
        return 0
    return free + taken
