"""`run --submit` and `attach`: a sweep that a cluster runs by itself, and what becomes of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from velodrome.scheduler.commands.history_estimates import parse_budget
from velodrome.scheduler.commands.output import print_json, print_lines, print_table
from velodrome.scheduler.commands.target import parse_target
from velodrome.scheduler.errors import ConfigError
from velodrome.scheduler.fleet.job_spec import Job, JobSpec, State, find_job, new_job_id
from velodrome.scheduler.fleet.jobs import DEFAULT_ADDRESS, JobServer
from velodrome.scheduler.interrupts import on_interrupt
from velodrome.scheduler.next_commands import format_command
from velodrome.scheduler.plans.declared_nodes import load_types as load_types
from velodrome.scheduler.plans.selection import parse_selection
from velodrome.scheduler.results.sweep_ids import LAST, new_sweep_id
from velodrome.scheduler.results.uri import is_shared_place
from velodrome.scheduler.standard_streams import is_stdout_open
from velodrome.scheduler.sweeps.sweep_file import load_sweep

# What a job finds in its folder; the names of the user's own files do not leave this machine.
SWEEP_FILE, CLUSTER_FILE = "sweep.yaml", "cluster.yaml"


class _Unheard(Exception):
    """Nobody reads what is told of a job."""


@dataclass(frozen=True)
class JobOptions:
    """The options of `run`, as they were typed."""

    sweep: Path | None
    results: str | Path
    resume: str
    only: str
    address: str
    cluster: Path | None
    patience: str
    budget: str = ""


def submit(typed: JobOptions, *, as_json: bool) -> int:
    """Whatever can be wrong with a sweep is found here, before anything is handed over."""
    if not typed.address:
        mend = "Give --address, too: http://HOST:8265, the dashboard of its head."
        raise ConfigError("command line, --submit", "it does not say to which cluster", mend)
    parse_target("auto", typed.cluster, typed.patience)
    parse_budget(typed.budget)
    stamp = new_sweep_id()
    order, files = _order(typed, stamp), _files(typed)
    job_id = new_job_id(order, stamp)
    server = JobServer(typed.address)
    server.submit(job_id, order, _words(typed, order), files)
    if as_json:
        print_json({"job_id": job_id, "address": typed.address, **vars(order)})
        return 0
    print_lines(
        f"handed over as {job_id}, which goes on without this machine",
        f"rows of sweep {order.sweep_id} go to {order.results}, as the cluster's head sees it",
        f"next: {_attach(job_id, typed.address)}",
    )
    return 0


def attach(text: str, address: str) -> int:
    """Follow a job to its end; its own exit status."""
    server = JobServer(address or DEFAULT_ADDRESS)
    jobs = server.jobs()
    job = find_job(text, jobs, server.address) if text else _only(jobs, server.address)
    print_lines(f"{job.job_id} is {job.state}; its rows go to {job.order.results}")
    again = _attach(job.job_id, server.address)
    try:
        with on_interrupt(f"{job.job_id} goes on. Follow it again: {again}"):
            ended = server.follow(job.job_id, _tell_line)
    except _Unheard:
        return 0  # the job goes on, and so may whoever has seen enough of it
    _tell_end(ended, server.address)
    return ended.exit_status or 0


def stop(text: str, address: str) -> int:
    """End a job; what it has finished is kept."""
    server = JobServer(address or DEFAULT_ADDRESS)
    jobs = server.jobs()
    if not text:
        mend = f"Name one: {', '.join(job.job_id for job in _running(jobs)) or 'none runs'}."
        raise ConfigError("command line, --stop", "it does not say which job", mend)
    job = find_job(text, jobs, server.address)
    if job.state.is_over:
        print_lines(f"{job.job_id} was over already")
        return 0
    _tell_end(server.stop(job.job_id), server.address)
    return 0


def show(text: str, address: str) -> int:
    """The jobs as JSON, newest first, or the one that is named."""
    server = JobServer(address or DEFAULT_ADDRESS)
    jobs = server.jobs()
    print_json([_row(job) for job in ([find_job(text, jobs, server.address)] if text else jobs)])
    return 0


def _tell_line(text: str) -> None:
    print_lines(text)
    if not is_stdout_open():
        raise _Unheard


def _order(typed: JobOptions, sweep_id: str) -> JobSpec:
    results = _outliving(typed.results)
    if typed.only:
        parse_selection(typed.only)
    if typed.resume == LAST:
        mend = "Give the sweep's id, which `velodrome attach` says."
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
    )


def _files(typed: JobOptions) -> dict[str, str]:
    found = {}
    if typed.sweep:
        found[SWEEP_FILE] = load_sweep(typed.sweep).text
    if typed.cluster:
        load_types(typed.cluster)
        found[CLUSTER_FILE] = typed.cluster.read_text()
    return found


def _words(typed: JobOptions, order: JobSpec) -> list[str]:
    """The command that the job is, on the cluster's head."""
    options = {
        "--results": order.results,
        "--resume" if typed.resume else "--sweep-id": order.sweep_id,
        "--only": order.only,
        "--cluster": CLUSTER_FILE if typed.cluster else "",
        "--patience": order.patience,
        "--budget": typed.budget,
        "--address": "auto",
    }
    # With `=`, a value that begins with a hyphen is still a value.
    given = [f"{name}={value}" for name, value in options.items() if value]
    return ["run", *given, *([SWEEP_FILE] if typed.sweep else [])]


def _outliving(results: str | Path) -> str:
    """ConfigError for a folder that means one thing here and another on the cluster."""
    if is_shared_place(results):
        return str(results)
    mend = "Give s3://BUCKET/PATH, or a folder of its head or of all machines: /srv/results."
    raise ConfigError(f"--results {results}", "the cluster has no such folder of yours", mend)


def _only(jobs: Sequence[Job], address: str) -> Job:
    """The one that runs, or the newest. ConfigError if several run, or there never was one."""
    running = _running(jobs)
    if len(running) > 1:
        print_table([_row(job) for job in running])
        raise ConfigError("command line", f"{len(running)} jobs run", "Name one of them.")
    if not jobs:
        mend = "Start one: velodrome run SWEEP --submit."
        raise ConfigError(f"jobs at {address}", "there is none yet", mend)
    return running[0] if running else jobs[0]


def _running(jobs: Sequence[Job]) -> list[Job]:
    return [job for job in jobs if not job.state.is_over]


def _row(job: Job) -> dict[str, object]:
    began = datetime.fromtimestamp(job.started_ms / 1000, UTC)
    return {
        "job_id": job.job_id,
        "state": str(job.state),
        "exit_status": job.exit_status,
        "started_at": f"{began:%Y-%m-%dT%H:%M:%SZ}",
        "sweep": job.order.sweep,
        "sweep_id": job.order.sweep_id,
        "results": job.order.results,
    }


def _tell_end(job: Job, address: str) -> None:
    again = f"go on with: {job.order.again(address)}"
    kept = f"what was finished is kept in {job.order.results}"
    if job.state is State.STOPPED:
        print_lines(f"{job.job_id} was stopped; {kept}", again)
    elif job.was_killed:
        print_lines(f"{job.job_id} {_death(job)}; {kept}", again)
    else:
        print_lines(
            f"{job.job_id} ended with exit status {job.exit_status}",
            f"next, on a machine that sees those results: {_report(job.order)}",
        )


def _death(job: Job) -> str:
    if job.exit_status is not None and job.exit_status > 128:
        return f"was killed by signal {job.exit_status - 128}"
    return f"could not be kept running by Ray ({' '.join(job.message.split())[:500]})"


def _attach(job_id: str, address: str) -> str:
    return format_command("attach", job_id, "--address", address)


def _report(order: JobSpec) -> str:
    return format_command("report", "--results", order.results, "--sweep", order.sweep_id)
