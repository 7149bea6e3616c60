"""Client for Ray's job server: a submitted sweep goes on when this machine disconnects.

Ray runs a job's entry command in a shell on the head. Jobs of other programs are not listed here.
Ray's job client needs more packages than Ray itself does.
"""

import asyncio
import importlib.util
import logging
import os
import socket
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from velodrome.scheduler.errors import ClusterUnreachable, ConfigError
from velodrome.scheduler.fleet import cluster
from velodrome.scheduler.fleet.job_spec import Job, JobSpec, build_entry_command, parse_job

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

SUBMIT_S = 60.0  # a head that has just started does not take jobs yet
STOP_WAIT_S = 30  # for a driver to end its tasks; Ray's default is 3 s
STOP_DEADLINE_S = STOP_WAIT_S + 15.0
PAUSE_S = 1.0
FOLLOW_TRIES = 5
DEFAULT_ADDRESS = "http://127.0.0.1:8265"  # on the head, or through `ray dashboard cluster.yaml`

T = TypeVar("T")


def parse_dashboard_url(text: str) -> str:
    """Return the URL of a dashboard.

    ConfigError if invalid, ClusterUnreachable if nothing listens.
    """
    if text == "auto":
        return text
    url = text if "://" in text else f"http://{text}"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or parts.scheme not in ("http", "https") or parts.path.strip("/") or parts.query:
        mend = "Give http://HOST:8265, the dashboard of its head, or `auto` on the head."
        raise ConfigError(f"--address {text}", "this is not the address of a job server", mend)
    try:
        port = port or (443 if parts.scheme == "https" else 8265)
        socket.create_connection((host, port), cluster.CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise _make_error(text, str(error)) from error
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2].partition(':')[0]}:{port}"


class LogLines:
    """Splits a job's log, which comes in pieces and again after a break, into lines, each once."""

    def __init__(self, print_line: Callable[[str], None]) -> None:
        self._print_line = print_line
        self._taken = 0  # characters
        self._skipped = 0  # characters of the next pieces that were taken before the break
        self._partial = ""

    def expect_restart(self) -> None:
        """Expect the log from its first piece again."""
        self._skipped = self._taken

    def take(self, piece: str) -> None:
        """Print the lines that this piece completes, without their line ends."""
        new = piece[self._skipped :]
        self._skipped = max(0, self._skipped - len(piece))
        self._taken += len(new)
        *lines, self._partial = (self._partial + new).split("\n")
        for line in lines:
            self._print_line(line)

    def end(self) -> None:
        """Print the last line if the job ended within it."""
        if self._partial:
            self._print_line(self._partial)
            self._partial = ""


class JobServer:
    """A cluster's job server. Every call raises ClusterUnreachable if it does not answer."""

    def __init__(self, address: str) -> None:
        self.address = address
        _check_client()
        url = parse_dashboard_url(address)
        os.environ.update(cluster.find_variables(os.environ, cluster.TOKEN_FILE.expanduser()))
        if url != "auto":
            # Ray would prefer these to the typed address.
            os.environ.pop("RAY_ADDRESS", None)
            os.environ.pop("RAY_API_SERVER_ADDRESS", None)
        self._client = self._ask(lambda: _create_client(url))

    def submit(
        self, job_id: str, spec: JobSpec, words: Sequence[str], files: Mapping[str, str]
    ) -> None:
        """Start `velodrome` with these arguments as a job, in a folder with copies of the files."""
        import velodrome

        environment = cluster.build_runtime_environment(str(Path(velodrome.__file__ or "").parent))
        variables = environment.get("env_vars")
        given = variables if isinstance(variables, dict) else {}
        environment["env_vars"] = {**given, "RAY_JOB_STOP_WAIT_TIME_S": str(STOP_WAIT_S)}
        with tempfile.TemporaryDirectory(prefix="velodrome-job-") as folder:
            for name, text in files.items():
                (Path(folder) / name).write_text(text)
            if files:
                environment["working_dir"] = folder
            self._submit(job_id, spec, build_entry_command(words), environment)

    def list_jobs(self) -> tuple[Job, ...]:
        """List the jobs, newest first."""
        listed = self._ask(self._client.list_jobs)
        found = [job for details in listed if (job := parse_job(details.model_dump(mode="json")))]
        return tuple(sorted(found, key=lambda job: (job.started_ms, job.job_id), reverse=True))

    def find_job(self, job_id: str) -> Job:
        details = self._ask(lambda: self._client.get_job_info(job_id))
        found = parse_job(details.model_dump(mode="json"))
        if not found:
            raise _make_error(self.address, f"it no longer knows job {job_id}")
        return found

    def stop(self, job_id: str) -> Job:
        """End a job and return its final state."""
        self._ask(lambda: self._client.stop_job(job_id))
        deadline = time.monotonic() + STOP_DEADLINE_S
        while not (job := self.find_job(job_id)).state.is_over:
            if time.monotonic() > deadline:
                raise _make_error(self.address, f"{job_id} does not end")
            time.sleep(PAUSE_S)
        return job

    def follow(self, job_id: str, tell: Callable[[str], None]) -> Job:
        """Print the lines of a job's log from the first on; return the job's final state."""
        import aiohttp

        lines = LogLines(tell)
        for _ in range(FOLLOW_TRIES):
            lines.expect_restart()
            with suppress(aiohttp.ClientError, RuntimeError, OSError):
                asyncio.run(self._read_log(job_id, lines))
            if (job := self.find_job(job_id)).state.is_over:
                lines.end()
                return job
            time.sleep(PAUSE_S)
        raise _make_error(self.address, f"the log of {job_id} was interrupted too often")

    async def _read_log(self, job_id: str, lines: LogLines) -> None:
        async for piece in self._client.tail_job_logs(job_id):
            lines.take(piece)

    def _submit(
        self, job_id: str, spec: JobSpec, command: str, environment: dict[str, object]
    ) -> None:
        deadline = time.monotonic() + SUBMIT_S
        while True:
            try:
                # A job that requests CPUs would wait for a node of its own.
                self._client.submit_job(
                    entrypoint=command,
                    submission_id=job_id,
                    runtime_env=environment,
                    metadata=spec.metadata,
                    entrypoint_num_cpus=0,
                )
                return
            except (RuntimeError, OSError) as error:
                if self._has(job_id):
                    return  # it was accepted, but the answer was lost
                if time.monotonic() > deadline:
                    raise _make_error(self.address, _shorten(error)) from error
            time.sleep(PAUSE_S)

    def _has(self, job_id: str) -> bool:
        with suppress(ClusterUnreachable):
            return any(job.job_id == job_id for job in self.list_jobs())
        return False

    def _ask(self, ask: Callable[[], T]) -> T:
        from ray.exceptions import RayError

        try:
            return ask()
        except RayError as error:
            mend = "Copy the head's token, and let RAY_AUTH_TOKEN_PATH name that file"
            raise _make_error(self.address, f"{_shorten(error)}. {mend}") from error
        except (RuntimeError, OSError, ValueError, KeyError) as error:
            raise _make_error(self.address, _shorten(error)) from error


def _check_client() -> None:
    if importlib.util.find_spec("aiohttp") is None:
        raise ClusterUnreachable(
            "jobs need packages of Ray that are not installed: pip install 'velodrome[jobs]', "
            "or, of a checkout, pip install -r requirements/jobs.txt"
        )


def _create_client(url: str) -> "JobSubmissionClient":
    """Create Ray's job client.

    Ray reads its variables on import: here, provided they are set by now.
    """
    from ray.job_submission import JobSubmissionClient

    # We report their errors ourselves.
    for name in ("ray", "ray.dashboard.modules.dashboard_sdk", "ray.dashboard.modules.job.sdk"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return JobSubmissionClient(url)


def _make_error(address: str, why: str) -> ClusterUnreachable:
    return ClusterUnreachable(
        f"the job server at {address} does not answer: {why}. Is this the address of the "
        "dashboard of its head, port 8265 by default, and was that started with `ray[default]`?"
    )


def _shorten(error: Exception) -> str:
    return " ".join(str(error).split())[:500].rstrip(".") or type(error).__name__
