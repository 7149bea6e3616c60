"""Disk space for environments."""

import shutil
from pathlib import Path

from velodrome.agents.environments.disk_layout import list_complete


def free_bytes(root: Path) -> int:
    """Return free space at root plus the space of existing environments; 0: unknown.

    Existing ones count, so that a node has space for an environment that it already has.
    """
    existing = next((folder for folder in (root, *root.parents) if folder.is_dir()), root)
    try:
        free = shutil.disk_usage(existing).free
        used = sum(record.size_bytes for _, record in list_complete(root))
    except OSError:
        return 0
    return free + used
