import errno

import pytest
import ray

from velodrome.scheduler.errors import ClusterUnreachable
from velodrome.scheduler.fleet.ray_calls import detect_local_failure, summarize_error


def test_a_task_error_is_summarized_by_its_exception() -> None:
    traceback = (
        "ray::execute_attempt() (pid=7, ip=192.0.2.2)\n"
        '  File "remote.py", line 9, in execute_attempt\n'
        "ValueError: no such share"
    )
    error = ray.exceptions.RayTaskError("execute_attempt", traceback, ValueError("no such share"))
    assert summarize_error(error.as_instanceof_cause()) == "ValueError: no such share"


def test_rays_own_error_is_summarized_by_its_first_sentence() -> None:
    error = ray.exceptions.WorkerCrashedError()
    assert (
        summarize_error(error)
        == "WorkerCrashedError: The worker died unexpectedly while executing this task"
    )


def test_a_broken_pipe_to_the_local_ray_raises_cluster_unreachable() -> None:
    with (
        pytest.raises(ClusterUnreachable, match="Ray on this machine has stopped"),
        detect_local_failure(),
    ):
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")
