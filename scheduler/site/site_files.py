"""The site's files into a folder, each whole or not at all, the index last."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from velodrome.scheduler.errors import ConfigError
from velodrome.scheduler.site.pages import VEGA, vega

READABLE = 0o644  # by whatever serves it


def write(folder: Path, files: Mapping[str, str]) -> None:
    """ConfigError if it cannot be written. Pages of cells that there are no more stay."""
    try:
        if not (folder / VEGA).exists():
            put(folder / VEGA, vega())
        for name, text in files.items():
            put(folder / name, text)
    except OSError as error:
        reason = f"cannot be written ({error.strerror or error})"
        raise ConfigError(str(folder), reason, "Name another folder with --site.") from None


def put(path: Path, text: str) -> None:
    """Whoever reads it meanwhile reads the one before. OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    number, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=path.suffix)
    try:
        with os.fdopen(number, "w", encoding="utf-8", errors="replace") as file:
            file.write(text)
        Path(name).chmod(READABLE)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
