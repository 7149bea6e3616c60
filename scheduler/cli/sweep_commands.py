"""Arguments and options of the commands that run a sweep or a task, or plan one."""

from pathlib import Path
from typing import Annotated

import typer

from velodrome.scheduler.cli import measure_arguments as words
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
    SameBuild,
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
    same_build: SameBuild = False,
    sweep_id: Annotated[str, typer.Option(hidden=True)] = "",
    json: Json = False,
) -> int:
    """Run a sweep, store its rows and show its grid."""
    if submit:
        from velodrome.scheduler.commands import jobs

        typed = jobs.JobOptions(
            sweep, results, resume, only, address, cluster, patience, budget, price, same_build
        )
        return jobs.submit(typed, as_json=json)
    from velodrome.scheduler.commands import run as command
    from velodrome.scheduler.commands.target import parse_target

    there = parse_target(address, cluster, patience, price)
    return command.run(
        sweep,
        results,
        resume,
        only,
        there,
        as_json=json,
        sweep_id=sweep_id,
        budget_text=budget,
        same_build=same_build,
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
    same_build: SameBuild = False,
    json: Json = False,
) -> int:
    """Show which task would run where, and why; start nothing."""
    from velodrome.scheduler.commands import plan as command

    return command.plan(
        sweep,
        only,
        address,
        cluster,
        with_reasons=explain,
        as_json=json,
        same_build=same_build,
    )


def measure(
    typed: typer.Context,
    framework: words.FrameworkName,
    model: words.ModelName,
    variant: words.Variant = "",
    batch_size: words.BatchSize = "",
    device: words.DeviceName = "cpu",
    gpu_model: words.GpuModel = "",
    build: words.Build = "",
    threads: words.ThreadCount = "physical",
    dtype: words.Precision = "float32",
    phases: words.PhaseNames = None,
    optimizer: words.OptimizerName = "",
    seed: words.SeedNumber = "",
    sampling_hz: words.SamplingHz = "",
    shared: words.IsShared = False,
    canary: words.HasCanary = False,
    target: words.TargetWidth = "",
    min_samples: words.MinSamples = "",
    min_seconds: words.MinSeconds = "",
    max_seconds: words.MaxSeconds = "",
    deadline: words.TimeLimit = "",
    memory: words.MemoryLimit = "",
    price: words.OwnPrice = "",
    results: words.RowsPlace = "",
    json: Json = False,
) -> int:
    """Run one task on this machine, without Ray."""
    from velodrome.scheduler.commands import measure as command
    from velodrome.scheduler.commands.measure_options import OPTIONS, MeasureOptions

    options = MeasureOptions(**{name: typed.params[name] for name in OPTIONS})
    return command.measure(options, results, as_json=json)
