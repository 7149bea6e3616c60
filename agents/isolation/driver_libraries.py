"""The GPU driver's libraries, picked from the shell's library folders.

A container may keep its driver in a folder of its own that only LD_LIBRARY_PATH names. Passed on
unchanged, that variable would put every other library of the folder before the locked packages: a
cuDNN or a BLAS that the lock does not name.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path

VARIABLE = "LD_LIBRARY_PATH"
# Installed by the driver, by no toolkit: NVIDIA driver README, "Installed Components".
DRIVER_LIBRARY = re.compile(r"lib(cuda|cudadebugger|nvidia-[a-z0-9-]+|nvcuvid)\.so(\.[0-9.]+)?")
# A user's own interpreter may not even start without them.
SHELL_VARIABLES = (VARIABLE, "CUDA_HOME", "CUDA_PATH", "ROCM_PATH", "HSA_OVERRIDE_GFX_VERSION")


def driver_library_variables(inherited: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Link each library of the driver into `folder`, and return the variable that names it.

    Empty if the shell names none. The first of two equal names wins, as in the loader.
    """
    for place in filter(None, inherited.get(VARIABLE, "").split(os.pathsep)):
        for library in _driver_files(Path(place)):
            folder.mkdir(exist_ok=True)
            link = folder / library.name
            if not link.is_symlink():
                link.symlink_to(library)
    return {VARIABLE: str(folder)} if folder.is_dir() else {}


def shell_library_variables(inherited: Mapping[str, str]) -> dict[str, str]:
    """Return the shell's library variables, for a user's own interpreter; the row states them."""
    return {name: inherited[name] for name in SHELL_VARIABLES if inherited.get(name)}


def _driver_files(place: Path) -> list[Path]:
    try:
        entries = list(place.absolute().iterdir())
    except OSError:
        return []
    return [entry for entry in entries if DRIVER_LIBRARY.fullmatch(entry.name)]
