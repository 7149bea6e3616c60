"""Arguments and options of the commands that read stored results."""

from pathlib import Path
from typing import Annotated

import typer

from velodrome.scheduler.cli.options import RESULTS, Json, Markdown, Only, Results

Unit = Annotated[
    str,
    typer.Option(
        help="time, rate (images, vectors or tokens per second), flops, mfu (share of the vendor's "
        "peak), algbw and busbw (bandwidths of collective operations and copies), energy "
        "or cost; default: time."
    ),
]


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
        bool,
        typer.Option(
            "--ceilings",
            help="Show each task's share of its node's measured peak, and bandwidths of links.",
        ),
    ] = False,
    scaling: Annotated[
        bool,
        typer.Option(
            "--scaling",
            help="Show the speed-up of several devices over one, and the share of communication.",
        ),
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
    unit: Unit = "",
    json: Json = False,
) -> int:
    """Show the grid of a sweep: in each cell a time or a reason.

    A time has its interval where the repeats allow one.
    """
    from velodrome.scheduler.commands import report as command

    kind = command.choose_kind(extensibility, utilization, outliers, ceilings, scaling)
    shown = command.choose_unit(unit, kind)
    form = command.choose_form(markdown, csv, json)
    if site is not None:
        from velodrome.scheduler.commands.trend_site import publish_site as write_site

        return write_site(results, sweep, site)
    if html is not None:
        from velodrome.scheduler.commands import report_page

        reported = report_page.write_page(results, sweep, html, shown)
    else:
        reported = command.report(results, sweep, kind, form, svg, shown)
    return (command.outlier_status(reported.rows) if fail_on_outlier else 0) or reported.status


def accept(
    results: Results = RESULTS,
    sweep: Annotated[str, typer.Option(help="Id of a sweep; default: the newest.")] = "",
    baseline: Annotated[
        str,
        typer.Option(help="Compare with this, too: a file of --write-baseline, or other results."),
    ] = "",
    least: Annotated[str, typer.Option(help="Smallest slow-down that matters; default: 3%.")] = "",
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML to this file, too.")] = None,
    write_baseline: Annotated[
        Path | None, typer.Option(help="Write a baseline of the machines that do not fail.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="Write the sweep's report with the verdicts to this file.")
    ] = None,
    markdown: Markdown = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV, one line per machine.")] = False,
    json: Json = False,
) -> int:
    """Accept or reject each node and GPU by its results.

    Compares it with others of its type; exit status 1 if one fails.
    """
    from velodrome.scheduler.commands import accept as command
    from velodrome.scheduler.commands.report import choose_form

    form = choose_form(markdown, csv, json)
    smallest = command.parse_least(least)
    return command.accept(
        command.AcceptanceOptions(
            results, sweep, baseline, smallest, form, junit, write_baseline, html
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
    unit: Unit = "",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """Compare two sweeps or variants: faster, slower, undecided.

    Names the recorded differences that a change is attributed to.
    """
    from velodrome.scheduler.commands import compare as command
    from velodrome.scheduler.commands.report import choose_form
    from velodrome.scheduler.reports.cell_work import parse_unit

    failures = command.parse_failures(fail_on or ())
    form, shown = choose_form(markdown, csv, json), parse_unit(unit)
    outcome = command.compare(
        base, candidate, results, only=only, least=least, form=form, unit=shown
    )
    return command.exit_status(outcome, failures)


def recommend(
    model: Annotated[str, typer.Argument(help="A model with results: one of `velodrome models`.")],
    by: Annotated[
        str, typer.Option(help="speed (units per second), energy (J per unit) or price.")
    ] = "speed",
    phase: Annotated[
        str,
        typer.Option(
            help="gradient (training), step, inference or forward; default: the first with a time."
        ),
    ] = "",
    only: Annotated[
        str, typer.Option(help='Only these results, e.g. "last device=gpu dtype=bfloat16".')
    ] = "",
    results: Results = RESULTS,
    markdown: Markdown = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV, one line per way.")] = False,
    json: Json = False,
) -> int:
    """Name the way of least time, energy or price to run a model.

    Ranks framework, variant, type, hardware and batch size by the stored results, and says where
    the statistics cannot tell two of them apart.
    """
    from velodrome.scheduler.commands import recommend as command
    from velodrome.scheduler.commands.report import choose_form

    form = choose_form(markdown, csv, json)
    return command.show_recommendation(model, results, by=by, phase=phase, only=only, form=form)


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


def results_check(results: Results = RESULTS, json: Json = False) -> int:
    """Read every result file and name those that are damaged.

    Says how to repair each; exit status 5 if there is one.
    """
    from velodrome.scheduler.commands import incomplete_results as command

    return command.check_results(results, as_json=json)
