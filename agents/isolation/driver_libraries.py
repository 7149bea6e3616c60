"""Of the shell's library folders, the libraries of the GPU's driver and nothing else.

Where a container brings its driver in a folder of its own, LD_LIBRARY_PATH is the only way to it.
Passed on as it is, it would put every other library of that folder before those of the locked
packages: a cuDNN or a BLAS that nobody asked for.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path

VARIABLE = "LD_LIBRARY_PATH"
# What the driver's packages install, and no toolkit: NVIDIA driver README, "Installed Components".
OF_THE_DRIVER = re.compile(r"lib(cuda|cudadebugger|nvidia-[a-z0-9-]+|nvcuvid)\.so(\.[0-9.]+)?")
# For an interpreter of the user's, which may not even start without them.
OF_THE_SHELL = (VARIABLE, "CUDA_HOME", "CUDA_PATH")


def driver_only(inherited: Mapping[str, str], folder: Path) -> dict[str, str]:
    """The variable that names `folder`, which is made, with a link to each library of the driver.

    Empty if the shell names none. Of two with one name the first counts, as for the loader.
    """
    for place in filter(None, inherited.get(VARIABLE, "").split(os.pathsep)):
        for library in _of_driver(Path(place)):
            folder.mkdir(exist_ok=True)
            link = folder / library.name
            if not link.is_symlink():
                link.symlink_to(library)
    return {VARIABLE: str(folder)} if folder.is_dir() else {}


def of_the_shell(inherited: Mapping[str, str]) -> dict[str, str]:
    """What leads an interpreter of the user's to libraries; it is told in the row."""
    return {name: inherited[name] for name in OF_THE_SHELL if inherited.get(name)}


def _of_driver(place: Path) -> list[Path]:
    try:
        entries = list(place.absolute().iterdir())
    except OSError:
        return []
    return [entry for entry in entries if OF_THE_DRIVER.fullmatch(entry.name)]
