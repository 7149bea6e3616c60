"""The node's folder of data sets, for the phases that read one.

The workers write, bound and empty it (velodrome.adapters.datasets.files): beside the environments,
so that every framework reads the same files.
"""

from pathlib import Path

from velodrome.adapters.protocol import LOADING_PHASES, Request
from velodrome.agents.environments.private_folders import make_private
from velodrome.agents.isolation.supervised import StartFailed


def add_datasets_folder(request: Request, home: Path) -> Request:
    """Return the request with the folder, which is made, if one of its phases reads a data set.

    StartFailed. home: of velodrome.agents.environments.disk_layout.home_of.
    """
    if not any(phase in LOADING_PHASES for phase in request.phases):
        return request
    folder = home / "datasets"
    try:
        make_private(folder)
    except OSError as error:
        raise StartFailed(f"data sets cannot be written to {folder}: {error}") from error
    return request._replace(datasets=str(folder))
