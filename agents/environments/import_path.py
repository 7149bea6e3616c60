"""The folder that a framework's interpreter imports Velodrome from.

Velodrome's own site-packages cannot be it: everything else in there, another NumPy to begin with,
would come before the environment's. So it is a folder with one link in it.
"""

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path

import velodrome
from velodrome.adapters.registry import Framework
from velodrome.agents.environments.failures import EnvironmentFailed
from velodrome.agents.environments.private_folders import make_private


def import_path(home: Path, framework: Framework) -> str:
    """The PYTHONPATH of the framework's worker: Velodrome, and an adapter that is the user's own.

    home is the folder that holds `envs` and `caches`; the link is made on first use. Whatever else
    lies beside it, as a `sitecustomize.py` would, every worker would import: EnvironmentFailed.
    """
    parts = [str(_linked(home)), *([framework.path] if framework.path else [])]
    return os.pathsep.join(parts)


def _linked(home: Path) -> Path:
    """A folder that holds a link to this very installation of Velodrome and nothing else."""
    package = Path(velodrome.__file__ or "").parent
    folder = home / "import" / hashlib.sha256(str(package).encode()).hexdigest()[:12]
    link = folder / package.name
    if not (link.is_symlink() and link.readlink() == package):
        make_private(folder)
        # Made aside, then renamed: a worker that starts meanwhile finds the old link or the new.
        with tempfile.TemporaryDirectory(dir=folder.parent) as place:
            (Path(place) / package.name).symlink_to(package)
            with contextlib.suppress(FileNotFoundError):
                (Path(place) / package.name).replace(link)
    others = sorted(entry for entry in folder.iterdir() if entry != link)
    if others:
        raise EnvironmentFailed(f"{others[0]} would be imported by every worker. Remove it")
    return folder
