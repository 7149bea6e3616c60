"""Private folders, whatever the umask: their content is executed or trusted."""

from pathlib import Path

_PRIVATE = 0o700


def make_private(folder: Path) -> None:
    """Create a folder and its missing parents for this user alone; existing ones stay."""
    if not folder.parent.is_dir():
        make_private(folder.parent)
    folder.mkdir(mode=_PRIVATE, exist_ok=True)
