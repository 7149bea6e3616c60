"""Folders for the user alone, whatever the umask: what lies in them is run, or believed."""

from pathlib import Path

_PRIVATE = 0o700


def make_private(folder: Path) -> None:
    """With its parents, which are private too where they are missing; one that is there stays."""
    if not folder.parent.is_dir():
        make_private(folder.parent)
    folder.mkdir(mode=_PRIVATE, exist_ok=True)
