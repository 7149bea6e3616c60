"""Arguments and options of the commands that run a sweep or a task, or plan one."""

from pathlib import Path
from typing import Annotated

import typer

from velodrome.scheduler.cli.options import (
    RESULTS,
    Address,
    Budget,
    Cluster,
    Json,
    Only,
    Patience,
    Price,
    Results,
    Sweep,
)


def run(
    sweep: Annotated[
        Path | None, typer.Argument(help="A sweep file, - for standard input; omit with --resume.")
    ] = None,
    results: Results = RESULTS,
    resume: Annotated[
        str, typer.Option(help="Finish an interrupted sweep: its id, or `last`.")
    ] = "",
    only: Only = "",
    address: Address = "",
    cluster: Cluster = None,
    patience: Patience = "",
    price: Price = "",
    submit: Annotated[
        bool,
        typer.Option("--submit", help="Run as a job of the cluster; --address is its dashboard."),
    ] = False,
    budget: Budget = "",
    sweep_id: Annotated[str, typer.Option(hidden=True)] = "",
    json: Json = False,
) -> int:
    """Run a sweep, store its rows and show its grid."""
    if submit:
        from velodrome.scheduler.commands import jobs

        typed = jobs.JobOptions(
            sweep, results, resume, only, address, cluster, patience, budget, price
        )
        return jobs.submit(typed, as_json=json)
    from velodrome.scheduler.commands import run as command
    from velodrome.scheduler.commands.target import parse_target

    there = parse_target(address, cluster, patience, price)
    return command.run(
        sweep, results, resume, only, there, as_json=json, sweep_id=sweep_id, budget_text=budget
    )


def nightly(
    sweep: Sweep,
    results: Results = RESULTS,
    budget: Budget = "",
    site: Annotated[Path, typer.Option(help="Folder for the pages with the trends.")] = Path(
        "site"
    ),
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML to this file, too.")] = None,
    only: Only = "",
    address: Address = "",
    cluster: Cluster = None,
    patience: Patience = "",
    price: Price = "",
    json: Json = False,
) -> int:
    """Run a sweep and look for regressions against earlier runs.

    Measures a suspicious cell again; exit status 1 if a regression is confirmed.
    """
    from velodrome.scheduler.commands import nightly as command
    from velodrome.scheduler.commands.target import parse_target

    typed = command.NightlyOptions(results, only, budget, site, junit)
    target = parse_target(address, cluster, patience, price)
    return command.nightly(sweep, typed, target, as_json=json)


def attach(
    job: Annotated[
        str, typer.Argument(help="Id of the job or its sweep; default: the running one.")
    ] = "",
    address: Annotated[
        str, typer.Option(help="Dashboard of the cluster's head; default: this machine's.")
    ] = "",
    stop: Annotated[bool, typer.Option("--stop", help="Stop the job; finished rows stay.")] = False,
    json: Annotated[
        bool, typer.Option("--json", help="List the jobs as JSON; follow none.")
    ] = False,
) -> int:
    """Follow a submitted sweep; Ctrl-C leaves it running."""
    from velodrome.scheduler.commands import jobs

    act = jobs.stop if stop else jobs.show if json else jobs.attach
    return act(job, address)


def plan(
    sweep: Sweep,
    address: Address = "",
    cluster: Annotated[
        Path | None, typer.Option(help="Plan over the node types that this cluster.yaml declares.")
    ] = None,
    only: Only = "",
    explain: Annotated[
        bool, typer.Option("--explain", help="List the reasons for each task and node.")
    ] = False,
    json: Json = False,
) -> int:
    """Show which task would run where, and why; start nothing."""
    from velodrome.scheduler.commands import plan as command

    return command.plan(sweep, only, address, cluster, with_reasons=explain, as_json=json)


def measure(
    framework: Annotated[str, typer.Argument(help="One of `velodrome frameworks`.")],
    model: Annotated[str, typer.Argument(help="One of `velodrome models`.")],
    variant: Annotated[
        str, typer.Option(help="Way to run the framework, e.g. compile; default: its first.")
    ] = "",
    batch_size: Annotated[
        str,
        typer.Option(help="Examples in a batch, or `auto` for the largest; default: the model's."),
    ] = "",
    device: Annotated[str, typer.Option(help="cpu, gpu, or gpu:2 for two GPUs.")] = "cpu",
    gpu_model: Annotated[str, typer.Option(help="Part of the GPU's name, e.g. H100.")] = "",
    threads: Annotated[str, typer.Option(help="A number, `physical` or `logical`.")] = "physical",
    dtype: Annotated[str, typer.Option(help="Precision: float32, tf32, bfloat16 or float16.")] = (
        "float32"
    ),
    phases: Annotated[
        list[str] | None,
        typer.Option(
            "--phases",
            "--phase",
            help="forward, gradient, inference, update or step; default: forward,gradient.",
        ),
    ] = None,
    optimizer: Annotated[
        str, typer.Option(help="Of update and step: sgd or adamw; default: sgd.")
    ] = "",
    seed: Annotated[str, typer.Option(help="Seed of weights and batches; default: 0.")] = "",
    sampling_hz: Annotated[
        str, typer.Option(help="Utilization readings per second; default: 10.")
    ] = "",
    shared: Annotated[
        bool, typer.Option("--shared", help="Let other tasks run at the same time.")
    ] = False,
    canary: Annotated[
        bool,
        typer.Option("--canary", help="Time a tiny model before and after, to judge the machine."),
    ] = False,
    target: Annotated[str, typer.Option(help="Half-width of the interval to reach, e.g. 1%.")] = "",
    min_samples: Annotated[str, typer.Option(help="Least number of samples per phase.")] = "",
    min_seconds: Annotated[str, typer.Option(help="Shortest time per phase, in seconds.")] = "",
    max_seconds: Annotated[str, typer.Option(help="Longest time per phase, in seconds.")] = "",
    deadline: Annotated[str, typer.Option(help="Time limit of the whole task, e.g. 15m.")] = "",
    memory: Annotated[str, typer.Option(help="Memory limit of the task, e.g. 16GiB.")] = "",
    price: Annotated[
        str, typer.Option(help='Price of this machine per hour, e.g. "2.5 USD".')
    ] = "",
    results: Annotated[str, typer.Option(help="Store the rows, too: a folder or a URI.")] = "",
    json: Json = False,
) -> int:
    """Run one task on this machine, without Ray."""
    from velodrome.scheduler.commands import measure as command
    from velodrome.scheduler.commands.measure_options import MeasureOptions

    options = MeasureOptions(
        framework=framework,
        model=model,
        variant=variant,
        batch_size=batch_size,
        device=device,
        threads=threads,
        seed=seed,
        target=target,
        min_samples=min_samples,
        min_seconds=min_seconds,
        max_seconds=max_seconds,
        deadline=deadline,
        memory=memory,
        gpu_model=gpu_model,
        dtype=dtype,
        sampling_hz=sampling_hz,
        is_shared=shared,
        has_canary=canary,
        phases=phases,
        optimizer=optimizer,
        price=price,
    )
    return command.measure(options, results, as_json=json)
