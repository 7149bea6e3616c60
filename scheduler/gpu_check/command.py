"""Command line of the GPU check."""

import os
import shlex
import time
from pathlib import Path
from typing import Annotated

import typer

from velodrome.agents.inventory import take_inventory
from velodrome.agents.node import Node
from velodrome.agents.node_types import NodeTypes
from velodrome.scheduler.commands.output import print_lines, print_table
from velodrome.scheduler.errors import ConfigError
from velodrome.scheduler.gpu_check.gpu_tasks import Bench
from velodrome.scheduler.gpu_check.interpreters import find_interpreters
from velodrome.scheduler.gpu_check.options import (
    BATCH_SIZES,
    BUDGET_S,
    DTYPES,
    FRAMEWORKS,
    CheckOptions,
)
from velodrome.scheduler.gpu_check.page import NAME, count_verdicts, write_page
from velodrome.scheduler.gpu_check.plan import list_steps
from velodrome.scheduler.gpu_check.references import prepare_references
from velodrome.scheduler.gpu_check.steps import StepOutcome, exit_status, run_steps
from velodrome.scheduler.next_commands import format_command
from velodrome.scheduler.results.store import Store
from velodrome.scheduler.standard_streams import ignore_output_errors
from velodrome.scheduler.sweeps.quantities import parse_duration_s, read_option

app = typer.Typer(add_completion=False)

Frameworks = Annotated[list[str] | None, typer.Option("--framework", help="Default: torch, jax.")]
Models = Annotated[list[str] | None, typer.Option("--model", help="Default: eight of them.")]
Dtypes = Annotated[list[str] | None, typer.Option("--dtype", help="Default: three of them.")]


@app.command()
def run(
    out: Annotated[Path, typer.Option(help="New folder for rows and figures.")] = Path(NAME),
    budget: Annotated[str, typer.Option(help="Time of the whole check.")] = f"{BUDGET_S:g}s",
    framework: Frameworks = None,
    model: Models = None,
    dtype: Dtypes = None,
    phase_seconds: Annotated[float, typer.Option(min=0.05, help="Least time of a phase.")] = 1.0,
    pairs: Annotated[int, typer.Option(min=1, help="Tasks with and without sampling.")] = 3,
    foreign_command: Annotated[str, typer.Option(help="Command that occupies the GPU.")] = "",
) -> int:
    """Check that what Velodrome measures on this machine's first GPU holds.

    Exit status 1 if a step fails, if no framework is found, or if there is no GPU.
    """
    options = CheckOptions(
        folder=out,
        budget_s=read_option("--budget", budget, parse_duration_s, BUDGET_S),
        frameworks=tuple(framework or FRAMEWORKS),
        models=tuple(model or BATCH_SIZES),
        dtypes=tuple(dtype or DTYPES),
        phase_s=phase_seconds,
        pairs=pairs,
        foreign_command=tuple(shlex.split(foreign_command)),
    )
    ignore_output_errors()
    ends_s = time.monotonic() + options.budget_s
    node = _take_inventory()
    if not node.gpus:
        reasons = ". ".join(filter(None, (node.gpu_fault, node.gpu_note, node.other_accelerators)))
        print_lines(f"no GPU to check: {reasons or 'this machine has no GPU driver'}")
        return 1
    return _check_gpu(options, node, ends_s)


@app.command()
def prepare(model: Models = None, dtype: Dtypes = None) -> int:
    """Compute the float64 references of the tasks beforehand, on a machine without a GPU, too."""
    environ = {**os.environ, **find_interpreters(()).variables}
    models, dtypes = model or BATCH_SIZES, dtype or DTYPES
    return prepare_references(tuple(models), tuple(dtypes), _take_inventory(), environ)


def _take_inventory() -> Node:
    return NodeTypes().with_type_name(take_inventory())


def _check_gpu(options: CheckOptions, node: Node, ends_s: float) -> int:
    """Run all steps on the first GPU, then print and write what they showed.

    ends_s: of the monotonic clock.
    """
    _make_folder(options.folder)
    gpu, begun = node.gpus[0], time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    found = find_interpreters(options.frameworks)
    store = Store(options.folder / "results")
    bench = Bench.open(node, gpu, {**os.environ, **found.variables}, store, options.phase_s)
    print_lines(f"checking GPU {gpu.index}, {gpu.name}, for at most {options.budget_s:.0f} s")
    outcomes = run_steps(list_steps(bench, options, found), ends_s, _print_outcome)
    write_page(options.folder, node, gpu, outcomes, begun, options.budget_s)
    print_table([_row(outcome) for outcome in outcomes], right=frozenset({"s"}))
    page, rows = options.folder / f"{NAME}.md", options.folder / "results"
    print_lines(f"{count_verdicts(outcomes)}; figures in {page}, rows in {rows}")
    print_lines(f"next: {format_command('report', '--results', rows)}")
    return exit_status(outcomes)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=False)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(f"--out {folder}", reason, "Name a new folder with --out.") from None


def _print_outcome(outcome: StepOutcome) -> None:
    print_lines(f"{outcome.verdict}: {outcome.name} ({outcome.seconds:.1f} s): {outcome.text}")


def _row(outcome: StepOutcome) -> dict[str, str]:
    return {
        "step": outcome.name,
        "verdict": outcome.verdict,
        "s": f"{outcome.seconds:.1f}",
        "seen": " ".join(outcome.text.split()),
    }
