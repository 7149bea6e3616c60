"""Commands to type next, as they work in a fresh shell in the current folder.

A user who typed `.venv/bin/velodrome` has no `velodrome` on the path.
"""

import os
import shlex
import shutil
import sys
from functools import cache
from pathlib import Path

NAME = "velodrome"


def format_command(*words: object) -> str:
    """Format `velodrome` with these arguments, quoted for a shell."""
    return f"{_find_own_command()} {shlex.join(map(str, words))}"


def localize_command(text: str) -> str:
    """Adapt a command that begins with `velodrome`, as rows store it for any machine."""
    name, _, rest = text.partition(" ")
    return f"{_find_own_command()} {rest}" if name == NAME and rest else text


def example_command(*words: str) -> str:
    """Format a command with an example sweep: of this folder, or of this checkout."""
    local = Path("sweeps/quick.yaml")
    shipped = Path(__file__).resolve().parents[1] / local
    found = (
        local if local.is_file() else Path(_shorten_path(shipped)) if shipped.is_file() else None
    )
    return format_command(words[0], found, *words[1:]) if found else format_command("models")


@cache
def _find_own_command() -> str:
    script = Path(sys.executable).parent / NAME
    if not script.is_file():
        return shlex.join([sys.executable, "-m", "velodrome.scheduler"])
    found = shutil.which(NAME)
    if found and Path(found).samefile(script):
        return NAME
    return shlex.quote(_shorten_path(script))


def _shorten_path(path: Path) -> str:
    """Return the path relative to this folder if it is below it."""
    below = os.path.relpath(path)
    return str(path) if below.startswith("..") else below
