"""The `velodrome` command: its arguments, and what an error becomes.

Every command's work is imported only when it is called, so that `--help` answers at once.
Exit status: 0 all as expected; 1 a task failed, or the doctor warns; 2 the user's file or command
line is wrong; 3 no Ray; 4 an environment could not be built; 5 rows are missing, for a file could
not be read or a night measured less than its sweep promises; 128 + N ended by signal N, as 130 by
Ctrl-C.
"""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # Rich's help costs half a second of imports
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Times deep-learning frameworks, each in its own interpreter, each gradient proven.",
)
envs = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="The frameworks' environments."
)
app.add_typer(envs, name="envs")
kept = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="What lies in the results.")
app.add_typer(kept, name="results")

Results = Annotated[str, typer.Option(help="Where results lie: a folder, s3:// or gs://.")]
Json = Annotated[bool, typer.Option("--json", help="Rows as JSON, nothing else on stdout.")]
Sweep = Annotated[
    Path, typer.Argument(help="A sweep file, e.g. sweeps/quick.yaml; - for standard input.")
]
Only = Annotated[
    str, typer.Option(help='Only these tasks, e.g. "framework=torch model=lenet|lstm threads=1".')
]
Address = Annotated[
    str, typer.Option(help="A Ray's HOST:PORT, or `auto`; this machine if left out.")
]
Cluster = Annotated[
    Path | None, typer.Option(help="The fleet's file, whose nodes are brought up when needed.")
]
Budget = Annotated[
    str,
    typer.Option(help="How long it may take, e.g. 2h: what is least known is measured first."),
]
RESULTS = "results"


@app.command()
def run(
    sweep: Annotated[
        Path | None, typer.Argument(help="A sweep file, - for standard input; none to resume.")
    ] = None,
    results: Results = RESULTS,
    resume: Annotated[str, typer.Option(help="Finish this sweep: its id, or `last`.")] = "",
    only: Only = "",
    address: Address = "",
    cluster: Cluster = None,
    patience: Annotated[
        str,
        typer.Option(help="How long to wait for a node: 5m, or 20m with --cluster."),
    ] = "",
    submit: Annotated[
        bool, typer.Option("--submit", help="As a job of the cluster whose dashboard is --address.")
    ] = False,
    budget: Budget = "",
    sweep_id: Annotated[str, typer.Option(hidden=True)] = "",
    json: Json = False,
) -> int:
    """Run a sweep, keep its rows, show its grid."""
    if submit:
        from velodrome.scheduler.commands import jobs

        typed = jobs.Typed(sweep, results, resume, only, address, cluster, patience, budget)
        return jobs.submit(typed, as_json=json)
    from velodrome.scheduler.commands import run as command
    from velodrome.scheduler.commands.target import where

    there = where(address, cluster, patience)
    return command.run(
        sweep, results, resume, only, there, as_json=json, sweep_id=sweep_id, budget_text=budget
    )


@app.command()
def nightly(
    sweep: Sweep,
    results: Results = RESULTS,
    budget: Budget = "",
    site: Annotated[Path, typer.Option(help="The folder of the trends' pages.")] = Path("site"),
    junit: Annotated[Path | None, typer.Option(help="JUnit XML, here, too.")] = None,
    only: Only = "",
    address: Address = "",
    cluster: Cluster = None,
    patience: Annotated[str, typer.Option(help="How long to wait for a node, as for run.")] = "",
    json: Json = False,
) -> int:
    """Run a sweep, hold it against its earlier nights; 1 if a regression is confirmed."""
    from velodrome.scheduler.commands import nightly as command
    from velodrome.scheduler.commands.target import where

    typed = command.Typed(results, only, budget, site, junit)
    return command.nightly(sweep, typed, where(address, cluster, patience), as_json=json)


@app.command()
def attach(
    job: Annotated[str, typer.Argument(help="Its id, or its sweep's; the one that runs.")] = "",
    address: Annotated[
        str, typer.Option(help="The dashboard of the cluster's head; this machine's if left out.")
    ] = "",
    stop: Annotated[bool, typer.Option("--stop", help="End it; its rows are kept.")] = False,
    json: Annotated[bool, typer.Option("--json", help="The jobs as JSON; follows none.")] = False,
) -> int:
    """Follow a sweep that was handed to a cluster; Ctrl-C leaves it running."""
    from velodrome.scheduler.commands import jobs

    act = jobs.stop if stop else jobs.show if json else jobs.attach
    return act(job, address)


@app.command()
def plan(
    sweep: Sweep,
    address: Address = "",
    cluster: Annotated[
        Path | None, typer.Option(help="Over the node types that this cluster.yaml declares.")
    ] = None,
    only: Only = "",
    explain: Annotated[
        bool, typer.Option("--explain", help="For each task and node, why not.")
    ] = False,
    json: Json = False,
) -> int:
    """What would run where, and why the rest cannot; starts nothing."""
    from velodrome.scheduler.commands import plan as command

    return command.plan(sweep, only, address, cluster, with_reasons=explain, as_json=json)


@app.command()
def measure(
    framework: str,
    model: str,
    variant: Annotated[str, typer.Option(help="A way to run the framework.")] = "",
    batch_size: Annotated[str, typer.Option(help="Examples per batch; else the model's own.")] = "",
    device: Annotated[str, typer.Option(help="cpu, gpu, or gpu:2 for two.")] = "cpu",
    gpu_model: Annotated[str, typer.Option(help="A part of the GPU's name, e.g. H100.")] = "",
    threads: Annotated[str, typer.Option(help="A number, `physical` or `logical`.")] = "physical",
    dtype: Annotated[str, typer.Option(help="Of weights and batches.")] = "float32",
    seed: Annotated[str, typer.Option(help="Of weights and batches; 0.")] = "",
    sampling_hz: Annotated[str, typer.Option(help="Readings of utilization a second; 10.")] = "",
    shared: Annotated[bool, typer.Option("--shared", help="Others may run beside it.")] = False,
    canary: Annotated[
        bool, typer.Option("--canary", help="Run a canary before and after, to judge the machine.")
    ] = False,
    target: Annotated[str, typer.Option(help="Half-width of the interval, e.g. 1%.")] = "",
    min_samples: Annotated[str, typer.Option(help="At least so many samples a phase.")] = "",
    min_seconds: Annotated[str, typer.Option(help="At least so long a phase.")] = "",
    max_seconds: Annotated[str, typer.Option(help="At most so long a phase.")] = "",
    deadline: Annotated[str, typer.Option(help="For the whole task, e.g. 15m.")] = "",
    memory: Annotated[str, typer.Option(help="Limit of the task's memory, e.g. 16GiB.")] = "",
    results: Annotated[str, typer.Option(help="Keep the rows here, too: a folder, s3://.")] = "",
    json: Json = False,
) -> int:
    """One task, here, now, without Ray."""
    from velodrome.scheduler.commands import measure as command
    from velodrome.scheduler.commands.measure_options import Options

    options = Options(
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
    )
    return command.measure(options, results, as_json=json)


@app.command()
def nodes(address: Address = "", json: Json = False) -> None:
    """This machine as a task sees it, or the nodes of a cluster."""
    from velodrome.scheduler.commands import catalogue

    catalogue.nodes(address, as_json=json)


@app.command()
def doctor(json: Json = False) -> int:
    """Whether this machine is fit to measure, and what to change; 1 if anything warns."""
    from velodrome.scheduler.commands import doctor as command

    return command.doctor(as_json=json)


@app.command()
def frameworks(json: Json = False) -> None:
    """The frameworks, their variants, and whether their environments stand."""
    from velodrome.scheduler.commands import catalogue

    catalogue.frameworks(as_json=json)


@app.command()
def models(json: Json = False) -> None:
    """The models, their parameters and multiply-adds."""
    from velodrome.scheduler.commands import catalogue

    catalogue.models(as_json=json)


@app.command()
def report(
    results: Results = RESULTS,
    sweep: Annotated[str, typer.Option(help="A sweep's id; the newest if left out.")] = "",
    markdown: Annotated[bool, typer.Option("--markdown", help="As Markdown.")] = False,
    site: Annotated[
        Path | None, typer.Option(help="Write the trends of all its nights into this folder.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="Write all of it here, as one page that opens offline.")
    ] = None,
    csv: Annotated[bool, typer.Option("--csv", help="A line per cell, as CSV.")] = False,
    svg: Annotated[Path | None, typer.Option(help="Draw the terminal's picture here.")] = None,
    extensibility: Annotated[
        bool, typer.Option("--extensibility", help="What each framework can express: the probes.")
    ] = False,
    utilization: Annotated[
        bool, typer.Option("--utilization", help="How many of its cores each really used.")
    ] = False,
    ceilings: Annotated[
        bool, typer.Option("--ceilings", help="How near each came to what its node can do.")
    ] = False,
    outliers: Annotated[
        bool, typer.Option("--outliers", help="Which node or GPU is unlike the others of its type.")
    ] = False,
    fail_on_outlier: Annotated[
        bool, typer.Option("--fail-on-outlier", help="Exit with status 1 if there is one.")
    ] = False,
    json: Json = False,
) -> int:
    """The grid of a sweep: a number with its interval, or the reason why not, in every cell."""
    from velodrome.scheduler.commands import report as command

    kind = command.chosen_kind(extensibility, utilization, outliers, ceilings)
    form = command.chosen(markdown, csv, json)
    if site is not None:
        from velodrome.scheduler.commands.trend_site import site as write_site

        return write_site(results, sweep, site)
    if html is not None:
        from velodrome.scheduler.commands import report_page

        reported = report_page.write(results, sweep, html)
    else:
        reported = command.report(results, sweep, kind, form, svg)
    return (command.outlier_status(reported.rows) if fail_on_outlier else 0) or reported.status


@app.command()
def compare(
    base: Annotated[
        str, typer.Argument(help="A sweep (last~1, an id's beginning), conditions, or both.")
    ],
    candidate: Annotated[str, typer.Argument(help='E.g. last, or "last variant=compile".')],
    results: Results = RESULTS,
    only: Only = "",
    least: Annotated[str, typer.Option(help="The least change to care for; 2%.")] = "",
    markdown: Annotated[bool, typer.Option("--markdown", help="As Markdown.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="A line per time, as CSV.")] = False,
    fail_on: Annotated[
        list[str] | None,
        typer.Option(help="Exit with status 1 on: slower, faster, broke, vanished."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="All of it as one JSON object.")] = False,
) -> int:
    """Which cells are faster, which slower, which undecided, and what it is laid to."""
    from velodrome.scheduler.commands import compare as command
    from velodrome.scheduler.commands.report import chosen

    failures = command.known_failures(fail_on or ())
    form = chosen(markdown, csv, json)
    outcome = command.compare(base, candidate, results, only=only, least=least, form=form)
    return command.status(outcome, failures)


@app.command()
def query(
    sql: Annotated[str, typer.Argument(metavar="SQL", help='e.g. "FROM tasks LIMIT 5".')],
    results: Results = RESULTS,
    form: Annotated[
        str, typer.Option("--format", help="table, csv, json or parquet; else by --output's name.")
    ] = "",
    output: Annotated[Path | None, typer.Option(help="Write the rows to this file.")] = None,
    json: Json = False,
) -> int:
    """SQL over the rows: tasks, samples, utilization, nodes and parameters of all sweeps."""
    from velodrome.scheduler.commands import query as command

    return command.query(sql, results, command.chosen("json" if json else form), output)


@kept.command("check")
def results_check(results: Results = RESULTS, json: Json = False) -> int:
    """Read every file, name each that is not sound, and what mends it; 5 if there is one."""
    from velodrome.scheduler.commands import results_check as command

    return command.check(results, as_json=json)


@envs.command("build")
def envs_build(
    frameworks: Annotated[list[str] | None, typer.Argument(help="All if none is named.")] = None,
    accelerator: Annotated[
        str,
        typer.Option(
            "--accelerator", "--device", help="cpu, gpu, or cuda13 and the like; need not be here."
        ),
    ] = "cpu",
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Build anew what stands.")] = False,
) -> None:
    """Build the environments of these frameworks, or of all."""
    from velodrome.scheduler.commands import envs as command

    make = command.rebuild if rebuild else command.build
    make(tuple(frameworks or ()), command.known_accelerator(accelerator))


@envs.command("list")
def envs_list(json: Json = False) -> None:
    """The environments that stand on this machine."""
    from velodrome.scheduler.commands import envs as command

    command.list_(as_json=json)


@envs.command("check")
def envs_check(
    frameworks: Annotated[list[str] | None, typer.Argument(help="All if none is named.")] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Run a small model, too, where there is no network.")
    ] = False,
    json: Json = False,
) -> None:
    """Whether each environment is as it was built, and imports."""
    from velodrome.scheduler.commands import envs as command

    check = command.check_offline if offline else command.check
    check(tuple(frameworks or ()), as_json=json)


@envs.command("prune")
def envs_prune() -> None:
    """Remove environments that no lock names any more, and what interrupted builds left."""
    from velodrome.scheduler.commands import envs as command

    command.prune()


@envs.command("lock")
def envs_lock(frameworks: Annotated[list[str], typer.Argument()]) -> None:
    """Resolve the locks of these frameworks anew from their requirements (for maintainers)."""
    from velodrome.scheduler.commands import envs as command

    command.lock(tuple(frameworks))


def main() -> None:
    """This very module, run as a script: `python -m velodrome.scheduler.cli`."""
    from velodrome.scheduler.entry import enter

    enter(lambda: app)


if __name__ == "__main__":
    main()
