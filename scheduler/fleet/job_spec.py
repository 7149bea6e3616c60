"""Jobs on a cluster: what a job is to run, and the state that Ray reports."""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from enum import StrEnum

from velodrome.agents.environments.recipes import did_you_mean
from velodrome.scheduler.errors import ConfigError
from velodrome.scheduler.next_commands import format_command

METADATA_KEY = "velodrome"  # of the metadata of our jobs
NAME_LENGTH = 40


class State(StrEnum):
    """The state of a job."""

    WAITING = "waiting"
    RUNNING = "running"
    STOPPED = "stopped"
    ENDED = "ended"

    @property
    def is_over(self) -> bool:
        return self in (State.STOPPED, State.ENDED)


_STATES = {
    "PENDING": State.WAITING,
    "RUNNING": State.RUNNING,
    "STOPPED": State.STOPPED,
    "SUCCEEDED": State.ENDED,
    "FAILED": State.ENDED,
}


@dataclass(frozen=True)
class JobSpec:
    """A sweep to run as a job; stored as the job's metadata, and enough to submit it again.

    only, cluster, patience and price are as the user typed them; empty if absent.
    """

    sweep: str
    sweep_id: str
    results: str
    only: str = ""
    cluster: str = ""
    patience: str = ""
    price: str = ""

    @property
    def metadata(self) -> dict[str, str]:
        return {METADATA_KEY: "sweep", **asdict(self)}

    def build_resume_command(self, address: str) -> str:
        """Return the command that resumes the sweep, as a job on the cluster at this address."""
        options = {
            "--resume": self.sweep_id,
            "--results": self.results,
            "--only": self.only,
            "--cluster": self.cluster,
            "--patience": self.patience,
            "--price": self.price,
            "--address": address,
        }
        words = [word for pair in options.items() if pair[1] for word in pair]
        return format_command("run", *words, "--submit")


@dataclass(frozen=True)
class Job:
    """A job as Ray reports it.

    code: the driver's exit status, below 0 the signal that killed it; None: there is none yet, or
    Ray lost it. message: Ray's reason why a job that is over has no code.
    """

    job_id: str
    spec: JobSpec
    state: State
    started_ms: int
    code: int | None = None
    message: str = ""

    @property
    def exit_status(self) -> int | None:
        """The sweep's exit status as a shell shows it; None while the job is not over."""
        if self.state is State.STOPPED:
            return 143  # SIGTERM, after an orderly end
        if self.state is not State.ENDED:
            return None
        if self.code is None:
            return 3  # Ray could not start or keep it
        return self.code if self.code >= 0 else 128 - self.code

    @property
    def was_killed(self) -> bool:
        """Return True if the job ended without a chance to clean up or report."""
        return self.state is State.ENDED and (self.code is None or not 0 <= self.code <= 128)


def parse_job(details: Mapping[str, object]) -> Job | None:
    """Read a job from the details that Ray's server sends; None if the job is not ours."""
    metadata, job_id = details.get("metadata"), details.get("submission_id")
    state = _STATES.get(str(details.get("status")))
    if not isinstance(metadata, Mapping) or METADATA_KEY not in metadata or not job_id or not state:
        return None
    spec = JobSpec(**{field.name: str(metadata.get(field.name, "")) for field in fields(JobSpec)})
    started_ms, code = details.get("start_time"), details.get("driver_exit_code")
    return Job(
        str(job_id),
        spec,
        state,
        started_ms if isinstance(started_ms, int) else 0,
        code if isinstance(code, int) else None,
        str(details.get("message") or ""),
    )


def make_job_id(spec: JobSpec, stamp: str) -> str:
    """Make a job id that is readable and safe in a path: only a-z, 0-9 and hyphens."""
    name = re.sub(r"[^a-z0-9]+", "-", spec.sweep.lower())[:NAME_LENGTH].strip("-")
    return "-".join(filter(None, (METADATA_KEY, name, stamp)))


def build_entry_command(words: Sequence[str]) -> str:
    """Build the shell command of a job: `velodrome` with these arguments, quoted.

    The head's `python` is the one that runs Ray: Ray's own convention for jobs.
    """
    return f"exec python -m velodrome.scheduler.cli {shlex.join(words)}"


def find_job(text: str, jobs: Sequence[Job], address: str) -> Job:
    """Find a job by its id, or the newest of a sweep. jobs: newest first.

    Newest first. ConfigError if there is none.
    """
    found = [job for job in jobs if text in (job.job_id, job.spec.sweep_id)]
    if found:
        return found[0]
    place, mend = f"jobs at {address}", "Start one first: velodrome run SWEEP --submit."
    if jobs:
        mend = did_you_mean(text, [job.job_id for job in jobs])
    raise ConfigError(place, f"there is no job '{text}'", mend)
