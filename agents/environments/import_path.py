"""The folder from which a framework's interpreter imports Velodrome.

Velodrome's own site-packages would also put its NumPy and other packages before the environment's.
So it is a folder that contains one link.
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
    """Return the PYTHONPATH of a worker: Velodrome, and an adapter of the user's.

    home contains `envs` and `caches`; the link is created on first use. Every worker would import
    any other file there, such as `sitecustomize.py`: EnvironmentFailed.
    """
    parts = [str(_link_package(home)), *([framework.path] if framework.path else [])]
    return os.pathsep.join(parts)


def _link_package(home: Path) -> Path:
    """Make a folder with only a link to this installation of Velodrome."""
    package = Path(velodrome.__file__ or "").parent
    folder = home / "import" / hashlib.sha256(str(package).encode()).hexdigest()[:12]
    link = folder / package.name
    if not (link.is_symlink() and link.readlink() == package):
        make_private(folder)
        # Created elsewhere, then renamed: a worker that starts meanwhile finds either link.
        with tempfile.TemporaryDirectory(dir=folder.parent) as place:
            (Path(place) / package.name).symlink_to(package)
            with contextlib.suppress(FileNotFoundError):
                (Path(place) / package.name).replace(link)
    others = sorted(entry for entry in folder.iterdir() if entry != link)
    if others:
        raise EnvironmentFailed(f"{others[0]} would be imported by every worker. Remove it")
    return folder
