"""The float64 references of the check's tasks, computed beforehand: NumPy needs no GPU.

They lie in `references` of VELODROME_HOME. Copied with it, they save the machine with the GPU the
time to compute them, as long as the files that decide them are the same.
"""

import time
from collections.abc import Iterator, Mapping, Sequence

from velodrome.adapters.models import MODELS
from velodrome.agents.environments.store import EnvironmentStore
from velodrome.agents.node import Node
from velodrome.agents.references import ReferenceFailed, obtain_reference
from velodrome.agents.task import Task
from velodrome.scheduler.commands.output import print_lines
from velodrome.scheduler.gpu_check.options import BATCH_SIZES


def prepare_references(
    models: Sequence[str], dtypes: Sequence[str], node: Node, environ: Mapping[str, str]
) -> int:
    """Compute what is missing. Exit status 1 if one cannot be computed; the others still are."""
    environments = EnvironmentStore(environ=environ)
    status = 0
    for task in _list_tasks(models, dtypes):
        started_s = time.monotonic()
        name = f"{task.model} b{task.batch_size} {task.dtype}"
        try:
            stored = obtain_reference(task, node, environments, lambda note: None)
        except ReferenceFailed as error:
            status = 1
            print_lines(f"{name}: {error}")
        else:
            print_lines(f"{name}: {time.monotonic() - started_s:.1f} s, {stored.path}")
    return status


def _list_tasks(models: Sequence[str], dtypes: Sequence[str]) -> Iterator[Task]:
    """Yield a task per reference: it depends on no framework."""
    for dtype in dtypes:
        for model in models:
            size = BATCH_SIZES.get(model) or MODELS[model].default_batch_size("gpu")
            yield Task("numpy", "", model, size, device="gpu", gpu_count=1, dtype=dtype)
