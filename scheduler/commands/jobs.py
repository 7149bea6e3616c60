"""Commands `run --submit` and `attach`, for sweeps that a cluster runs by itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from velodrome.scheduler.commands.history_estimates import parse_budget
from velodrome.scheduler.commands.output import print_json, print_lines, print_table
from velodrome.scheduler.commands.target import parse_target
from velodrome.scheduler.errors import ConfigError
from velodrome.scheduler.fleet.job_spec import Job, JobSpec, State, find_job, make_job_id
from velodrome.scheduler.fleet.jobs import DEFAULT_ADDRESS, JobServer
from velodrome.scheduler.interrupts import explain_interrupt
from velodrome.scheduler.next_commands import format_command
from velodrome.scheduler.plans.declared_nodes import load_types as load_types
from velodrome.scheduler.plans.selection import parse_selection
from velodrome.scheduler.results.sweep_ids import LAST, new_sweep_id
from velodrome.scheduler.results.uri import is_shared_place
from velodrome.scheduler.standard_streams import is_stdout_open
from velodrome.scheduler.sweeps.sweep_file import hold_to_one_build, load_sweep

# The names of files in a job's folder; those of the user's files do not leave this machine.
SWEEP_FILE, CLUSTER_FILE = "sweep.yaml", "cluster.yaml"


class _OutputClosed(Exception):
    """The reader of our output is gone."""


@dataclass(frozen=True)
class JobOptions:
    """Options of `run`, as the user typed them."""

    sweep: Path | None
    results: str | Path
    resume: str
    only: str
    address: str
    cluster: Path | None
    patience: str
    budget: str = ""
    price: str = ""
    same_build: bool = False


def submit(typed: JobOptions, *, as_json: bool) -> int:
    """Submit a sweep as a job. All errors in the sweep are found here, before it is sent."""
    if not typed.address:
        mend = "Give --address, too: http://HOST:8265, the dashboard of its head."
        raise ConfigError("command line, --submit", "no cluster is given", mend)
    parse_target("auto", typed.cluster, typed.patience, typed.price)
    parse_budget(typed.budget)
    stamp = new_sweep_id()
    spec, files = _make_spec(typed, stamp), _collect_files(typed)
    job_id = make_job_id(spec, stamp)
    server = JobServer(typed.address)
    server.submit(job_id, spec, _build_command(typed, spec), files)
    if as_json:
        print_json({"job_id": job_id, "address": typed.address, **vars(spec)})
        return 0
    print_lines(
        f"submitted as {job_id}, which runs without this machine",
        f"rows of sweep {spec.sweep_id} go to {spec.results}, as the cluster's head sees it",
        f"next: {_format_attach(job_id, typed.address)}",
    )
    return 0


def attach(text: str, address: str) -> int:
    """Follow a job to its end; return its exit status."""
    server = JobServer(address or DEFAULT_ADDRESS)
    jobs = server.list_jobs()
    job = find_job(text, jobs, server.address) if text else _choose_job(jobs, server.address)
    print_lines(f"{job.job_id} is {job.state}; its rows go to {job.spec.results}")
    again = _format_attach(job.job_id, server.address)
    try:
        with explain_interrupt(f"{job.job_id} continues. Follow it again: {again}"):
            ended = server.follow(job.job_id, _print_log_line)
    except _OutputClosed:
        return 0  # the job continues without a reader
    _print_end(ended, server.address)
    return ended.exit_status or 0


def stop(text: str, address: str) -> int:
    """Stop a job; finished runs are kept."""
    server = JobServer(address or DEFAULT_ADDRESS)
    jobs = server.list_jobs()
    if not text:
        mend = f"Name one: {', '.join(job.job_id for job in _select_running(jobs)) or 'none runs'}."
        raise ConfigError("command line, --stop", "no job is named", mend)
    job = find_job(text, jobs, server.address)
    if job.state.is_over:
        print_lines(f"{job.job_id} had already ended")
        return 0
    _print_end(server.stop(job.job_id), server.address)
    return 0


def show(text: str, address: str) -> int:
    """Print the jobs as JSON, newest first, or the named one."""
    server = JobServer(address or DEFAULT_ADDRESS)
    jobs = server.list_jobs()
    print_json([_to_row(job) for job in ([find_job(text, jobs, server.address)] if text else jobs)])
    return 0


def _print_log_line(text: str) -> None:
    print_lines(text)
    if not is_stdout_open():
        raise _OutputClosed


def _make_spec(typed: JobOptions, sweep_id: str) -> JobSpec:
    results = _require_shared(typed.results)
    if typed.only:
        parse_selection(typed.only)
    if typed.resume == LAST:
        mend = "Give the sweep's id, which `velodrome attach` prints."
        raise ConfigError("--resume last", "only the cluster knows which sweep that is", mend)
    if typed.sweep is None and not typed.resume:
        raise ConfigError("command line", "no sweep file is named", "Try sweeps/quick.yaml.")
    return JobSpec(
        sweep=load_sweep(typed.sweep).name if typed.sweep else "",
        sweep_id=typed.resume or sweep_id,
        results=results,
        only=typed.only,
        cluster=str(typed.cluster or ""),
        patience=typed.patience,
        price=typed.price,
    )


def _collect_files(typed: JobOptions) -> dict[str, str]:
    files = {}
    if typed.sweep:
        sweep = load_sweep(typed.sweep)
        files[SWEEP_FILE] = (hold_to_one_build(sweep) if typed.same_build else sweep).text
    if typed.cluster:
        load_types(typed.cluster)
        files[CLUSTER_FILE] = typed.cluster.read_text()
    return files


def _build_command(typed: JobOptions, spec: JobSpec) -> list[str]:
    """Build the command line that the job runs on the cluster's head."""
    options = {
        "--results": spec.results,
        "--resume" if typed.resume else "--sweep-id": spec.sweep_id,
        "--only": spec.only,
        "--cluster": CLUSTER_FILE if typed.cluster else "",
        "--patience": spec.patience,
        "--price": spec.price,
        "--budget": typed.budget,
        "--address": "auto",
    }
    # With `=`, a value that begins with a hyphen is still a value.
    words = [f"{name}={value}" for name, value in options.items() if value]
    return ["run", *words, *([SWEEP_FILE] if typed.sweep else [])]


def _require_shared(results: str | Path) -> str:
    """Return the results' address. ConfigError for a folder that the cluster cannot see."""
    if is_shared_place(results):
        return str(results)
    mend = "Give s3://BUCKET/PATH, or a folder of its head or of all machines: /srv/results."
    raise ConfigError(
        f"--results {results}", "the cluster cannot see a folder of this machine", mend
    )


def _choose_job(jobs: Sequence[Job], address: str) -> Job:
    """Return the only running job, or the newest. ConfigError if several run, or there are none."""
    running = _select_running(jobs)
    if len(running) > 1:
        print_table([_to_row(job) for job in running])
        raise ConfigError("command line", f"{len(running)} jobs run", "Name one of them.")
    if not jobs:
        mend = "Start one: velodrome run SWEEP --submit."
        raise ConfigError(f"jobs at {address}", "there are no jobs", mend)
    return running[0] if running else jobs[0]


def _select_running(jobs: Sequence[Job]) -> list[Job]:
    return [job for job in jobs if not job.state.is_over]


def _to_row(job: Job) -> dict[str, object]:
    started = datetime.fromtimestamp(job.started_ms / 1000, UTC)
    return {
        "job_id": job.job_id,
        "state": str(job.state),
        "exit_status": job.exit_status,
        "started_at": f"{started:%Y-%m-%dT%H:%M:%SZ}",
        "sweep": job.spec.sweep,
        "sweep_id": job.spec.sweep_id,
        "results": job.spec.results,
    }


def _print_end(job: Job, address: str) -> None:
    again = f"resume with: {job.spec.build_resume_command(address)}"
    kept = f"finished runs are kept in {job.spec.results}"
    if job.state is State.STOPPED:
        print_lines(f"{job.job_id} was stopped; {kept}", again)
    elif job.was_killed:
        print_lines(f"{job.job_id} {_describe_death(job)}; {kept}", again)
    else:
        print_lines(
            f"{job.job_id} ended with exit status {job.exit_status}",
            f"next, on a machine that sees those results: {_format_report(job.spec)}",
        )


def _describe_death(job: Job) -> str:
    if job.exit_status is not None and job.exit_status > 128:
        return f"was killed by signal {job.exit_status - 128}"
    return f"was lost by Ray ({' '.join(job.message.split())[:500]})"


def _format_attach(job_id: str, address: str) -> str:
    return format_command("attach", job_id, "--address", address)


def _format_report(spec: JobSpec) -> str:
    return format_command("report", "--results", spec.results, "--sweep", spec.sweep_id)
