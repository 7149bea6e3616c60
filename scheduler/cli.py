"""The command line of `velodrome`: its commands, arguments and options.

Each command imports its implementation when it is called, so that `--help` answers at once.
"""

from pathlib import Path
from typing import Annotated

import typer

RESULTS = "results"
STATUS = """\b
Exit status:
  0      every result is as expected
  1      a task failed, a regression is confirmed, or the doctor warns
  2      the command line or a file of yours is wrong
  3      Ray cannot be reached or started
  4      an environment could not be built
  5      rows are missing: a file cannot be read, or a nightly run is incomplete
  128+N  ended by signal N; 130 is Ctrl-C
"""


def _examples(*lines: str) -> str:
    """Return the end of a help text. Click leaves the lines of a paragraph with \\b as they are."""
    return "\b\nExamples:\n" + "\n".join(f"  velodrome {line}" for line in lines)


app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # Rich's help costs half a second of imports
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Time deep-learning frameworks on one machine or a fleet, and verify every gradient.",
    epilog=_examples("run sweeps/quick.yaml", "report") + "\n\n" + STATUS,
)
envs = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Build, list and check the environments of the frameworks.",
)
app.add_typer(envs, name="envs")
stored = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Check stored results.")
app.add_typer(stored, name="results")

Results = Annotated[str, typer.Option(help="Folder of the results, or an s3:// or gs:// URI.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else to stdout.")]
Sweep = Annotated[
    Path, typer.Argument(help="A sweep file, e.g. sweeps/quick.yaml; - for standard input.")
]
Only = Annotated[
    str, typer.Option(help='Only these tasks, e.g. "framework=torch model=lenet|lstm threads=1".')
]
Address = Annotated[
    str, typer.Option(help="HOST:PORT of a Ray cluster, or `auto`; default: this machine.")
]
Cluster = Annotated[
    Path | None, typer.Option(help="The cluster.yaml of the fleet; starts nodes when needed.")
]
Patience = Annotated[
    str, typer.Option(help="Longest wait for a node; default: 5m, or 20m with --cluster.")
]
Budget = Annotated[
    str, typer.Option(help="Longest duration, e.g. 2h; the least certain cells go first.")
]
Markdown = Annotated[bool, typer.Option("--markdown", help="Print Markdown.")]


def _print_version(is_asked: bool) -> None:  # noqa: FBT001 (Typer's signature)
    if is_asked:
        from importlib.metadata import version

        typer.echo(f"velodrome {version('velodrome')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Hold the options of `velodrome` itself; Typer takes the help text from `app`."""


@app.command(
    epilog=_examples(
        "run sweeps/quick.yaml",
        "run sweeps/nightly.yaml --address HEAD:6379",
        "run --resume last",
    )
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

        typed = jobs.JobOptions(sweep, results, resume, only, address, cluster, patience, budget)
        return jobs.submit(typed, as_json=json)
    from velodrome.scheduler.commands import run as command
    from velodrome.scheduler.commands.target import parse_target

    there = parse_target(address, cluster, patience)
    return command.run(
        sweep, results, resume, only, there, as_json=json, sweep_id=sweep_id, budget_text=budget
    )


@app.command(
    epilog=_examples(
        "nightly sweeps/nightly.yaml --budget 2h",
        "nightly sweeps/nightly.yaml --site /srv/www/trends --junit nightly.xml",
    )
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
    json: Json = False,
) -> int:
    """Run a sweep and look for regressions against earlier runs.

    Measures a suspicious cell again; exit status 1 if a regression is confirmed.
    """
    from velodrome.scheduler.commands import nightly as command
    from velodrome.scheduler.commands.target import parse_target

    typed = command.NightlyOptions(results, only, budget, site, junit)
    return command.nightly(sweep, typed, parse_target(address, cluster, patience), as_json=json)


@app.command(
    epilog=_examples("attach --address http://HEAD:8265", "attach JOB --stop --address auto")
)
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


@app.command(
    epilog=_examples(
        "plan sweeps/quick.yaml", "plan sweeps/nightly.yaml --cluster cluster.yaml --explain"
    )
)
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


@app.command(
    epilog=_examples(
        "measure torch lenet --threads 1",
        "measure tensorflow lstm --variant xla --device gpu --results results",
    )
)
def measure(
    framework: Annotated[str, typer.Argument(help="One of `velodrome frameworks`.")],
    model: Annotated[str, typer.Argument(help="One of `velodrome models`.")],
    variant: Annotated[
        str, typer.Option(help="Way to run the framework, e.g. compile; default: its first.")
    ] = "",
    batch_size: Annotated[
        str, typer.Option(help="Examples in a batch; default: the model's.")
    ] = "",
    device: Annotated[str, typer.Option(help="cpu, gpu, or gpu:2 for two GPUs.")] = "cpu",
    gpu_model: Annotated[str, typer.Option(help="Part of the GPU's name, e.g. H100.")] = "",
    threads: Annotated[str, typer.Option(help="A number, `physical` or `logical`.")] = "physical",
    dtype: Annotated[str, typer.Option(help="Type of weights and batches.")] = "float32",
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
    )
    return command.measure(options, results, as_json=json)


@app.command(epilog=_examples("nodes", "nodes --address HEAD:6379"))
def nodes(address: Address = "", json: Json = False) -> None:
    """Describe this machine, or the nodes of a cluster."""
    from velodrome.scheduler.commands import catalogue

    catalogue.show_nodes(address, as_json=json)


@app.command(epilog=_examples("doctor"))
def doctor(json: Json = False) -> int:
    """Check that this machine is fit to measure.

    Says what to change; exit status 1 if a check warns.
    """
    from velodrome.scheduler.commands import doctor as command

    return command.doctor(as_json=json)


@app.command(epilog=_examples("frameworks"))
def frameworks(json: Json = False) -> None:
    """List the frameworks, their variants and environments."""
    from velodrome.scheduler.commands import catalogue

    catalogue.show_frameworks(as_json=json)


@app.command(epilog=_examples("models"))
def models(json: Json = False) -> None:
    """List the models, their parameters and multiply-adds."""
    from velodrome.scheduler.commands import catalogue

    catalogue.show_models(as_json=json)


@app.command(epilog=_examples("sweeps", "sweeps my-sweeps/"))
def sweeps(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(help="Sweep files, or folders of them; default: sweeps/."),
    ] = None,
    json: Json = False,
) -> int:
    """List sweep files: purpose, frameworks, models, cells.

    Reads sweeps/ of this folder, or else of this checkout. Exit status 2 if a file is wrong.
    """
    from velodrome.scheduler.commands import sweep_list

    return sweep_list.sweeps(tuple(paths or ()), as_json=json)


@app.command(epilog=_examples("report", "report --html report.html", "report --utilization --csv"))
def report(
    results: Results = RESULTS,
    sweep: Annotated[str, typer.Option(help="Id of a sweep; default: the newest.")] = "",
    markdown: Markdown = False,
    site: Annotated[
        Path | None,
        typer.Option(help="Write pages with the trends of all its runs to this folder."),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(help="Write the whole report to this file, one page that opens offline."),
    ] = None,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV, one line per cell.")] = False,
    svg: Annotated[
        Path | None, typer.Option(help="Write the terminal's picture to this file.")
    ] = None,
    extensibility: Annotated[
        bool,
        typer.Option("--extensibility", help="Show what each framework can express (probes.yaml)."),
    ] = False,
    utilization: Annotated[
        bool, typer.Option("--utilization", help="Show how many of its cores each task used.")
    ] = False,
    ceilings: Annotated[
        bool, typer.Option("--ceilings", help="Show each task's share of its node's measured peak.")
    ] = False,
    outliers: Annotated[
        bool,
        typer.Option(
            "--outliers", help="Show nodes or GPUs that differ from others of their type."
        ),
    ] = False,
    fail_on_outlier: Annotated[
        bool, typer.Option("--fail-on-outlier", help="Exit with status 1 if there is an outlier.")
    ] = False,
    json: Json = False,
) -> int:
    """Show the grid of a sweep: in each cell a time or a reason.

    A time has its interval where the repeats allow one.
    """
    from velodrome.scheduler.commands import report as command

    kind = command.choose_kind(extensibility, utilization, outliers, ceilings)
    form = command.choose_form(markdown, csv, json)
    if site is not None:
        from velodrome.scheduler.commands.trend_site import publish_site as write_site

        return write_site(results, sweep, site)
    if html is not None:
        from velodrome.scheduler.commands import report_page

        reported = report_page.write_page(results, sweep, html)
    else:
        reported = command.report(results, sweep, kind, form, svg)
    return (command.outlier_status(reported.rows) if fail_on_outlier else 0) or reported.status


@app.command(
    epilog=_examples(
        "compare last~1 last",
        'compare "last variant=eager" "last variant=compile" --fail-on slower',
    )
)
def compare(
    base: Annotated[
        str, typer.Argument(help="A sweep (last~1, or the start of an id), conditions, or both.")
    ],
    candidate: Annotated[str, typer.Argument(help='E.g. last, or "last variant=compile".')],
    results: Results = RESULTS,
    only: Only = "",
    least: Annotated[str, typer.Option(help="Smallest change that matters; default: 2%.")] = "",
    markdown: Markdown = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV, one line per time.")] = False,
    fail_on: Annotated[
        list[str] | None,
        typer.Option(help="Exit with status 1 on: slower, faster, broke, vanished."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """Compare two sweeps or variants: faster, slower, undecided.

    Names the recorded differences that a change is attributed to.
    """
    from velodrome.scheduler.commands import compare as command
    from velodrome.scheduler.commands.report import choose_form

    failures = command.parse_failures(fail_on or ())
    form = choose_form(markdown, csv, json)
    outcome = command.compare(base, candidate, results, only=only, least=least, form=form)
    return command.exit_status(outcome, failures)


@app.command(
    epilog=_examples(
        'query "FROM tasks LIMIT 5"',
        """query "SELECT model, min(forward_median_ns) FROM tasks GROUP BY model" --format csv""",
    )
)
def query(
    sql: Annotated[str, typer.Argument(metavar="SQL", help='e.g. "FROM tasks LIMIT 5".')],
    results: Results = RESULTS,
    form: Annotated[
        str,
        typer.Option(
            "--format", help="table, csv, json or parquet; default: by the name of --output."
        ),
    ] = "",
    output: Annotated[Path | None, typer.Option(help="Write the rows to this file.")] = None,
    json: Json = False,
) -> int:
    """Run SQL over the rows of all sweeps.

    Tables: tasks, samples, utilization, nodes, parameters; see docs/schema.md.
    """
    from velodrome.scheduler.commands import query as command

    return command.query(sql, results, command.parse_format("json" if json else form), output)


@stored.command("check", epilog=_examples("results check --results results"))
def results_check(results: Results = RESULTS, json: Json = False) -> int:
    """Read every result file and name those that are damaged.

    Says how to repair each; exit status 5 if there is one.
    """
    from velodrome.scheduler.commands import incomplete_results as command

    return command.check_results(results, as_json=json)


@envs.command("build", epilog=_examples("envs build torch", "envs build torch --accelerator gpu"))
def envs_build(
    frameworks: Annotated[list[str] | None, typer.Argument(help="Names; default: all.")] = None,
    accelerator: Annotated[
        str,
        typer.Option(
            "--accelerator", "--device", help="cpu, gpu, or e.g. cuda13; this machine may lack it."
        ),
    ] = "cpu",
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Build existing ones again, too.")
    ] = False,
) -> None:
    """Build the environments of the named frameworks."""
    from velodrome.scheduler.commands import envs as command

    make = command.rebuild if rebuild else command.build
    make(tuple(frameworks or ()), command.check_accelerator(accelerator))


@envs.command("list", epilog=_examples("envs list"))
def envs_list(json: Json = False) -> None:
    """List the environments on this machine."""
    from velodrome.scheduler.commands import envs as command

    command.show_environments(as_json=json)


@envs.command("check", epilog=_examples("envs check", "envs check torch --offline"))
def envs_check(
    frameworks: Annotated[list[str] | None, typer.Argument(help="Names; default: all.")] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Run a small model, too, without network.")
    ] = False,
    json: Json = False,
) -> None:
    """Check that environments are unchanged and import."""
    from velodrome.scheduler.commands import envs as command

    check = command.check_offline if offline else command.check
    check(tuple(frameworks or ()), as_json=json)


@envs.command("prune", epilog=_examples("envs prune"))
def envs_prune() -> None:
    """Remove environments without a lock, and aborted builds."""
    from velodrome.scheduler.commands import envs as command

    command.prune()


@envs.command("lock", epilog=_examples("envs lock torch"))
def envs_lock(frameworks: Annotated[list[str], typer.Argument(help="Names.")]) -> None:
    """Lock the newest allowed packages (for maintainers)."""
    from velodrome.scheduler.commands import envs as command

    command.lock(tuple(frameworks))


def main() -> None:
    """Run the command line: `python -m velodrome.scheduler.cli`."""
    from velodrome.scheduler.entry import enter

    enter(lambda: app)


if __name__ == "__main__":
    main()
