"""The command line of `velodrome`: its commands with their examples.

Each command imports its implementation when it is called, so that `--help` answers at once.
"""

from collections.abc import Callable, Mapping
from typing import Annotated

import typer

from velodrome.scheduler.cli import machine_commands, result_commands, sweep_commands

STATUS = """\b
Exit status:
  0      every result is as expected
  1      a task failed, a regression is confirmed, a machine is rejected, or the doctor warns
  2      the command line or a file of yours is wrong
  3      Ray cannot be reached or started
  4      an environment could not be built
  5      rows are missing: a file cannot be read, or a nightly run is incomplete
  128+N  ended by signal N; 130 is Ctrl-C
"""

# The function of a command, and the words after its name in each example.
Commands = Mapping[str, tuple[Callable[..., int | None], *tuple[str, ...]]]
COMMANDS: Commands = {
    "run": (
        sweep_commands.run,
        "sweeps/quick.yaml",
        "sweeps/nightly.yaml --address HEAD:6379",
        "--resume last",
    ),
    "nightly": (
        sweep_commands.nightly,
        "sweeps/nightly.yaml --budget 2h",
        "sweeps/nightly.yaml --site /srv/www/trends --junit nightly.xml",
    ),
    "attach": (sweep_commands.attach, "--address http://HEAD:8265", "JOB --stop --address auto"),
    "plan": (
        sweep_commands.plan,
        "sweeps/quick.yaml",
        "sweeps/nightly.yaml --cluster cluster.yaml --explain",
    ),
    "measure": (
        sweep_commands.measure,
        "torch lenet --threads 1",
        "tensorflow lstm --variant xla --device gpu --results results",
    ),
    "nodes": (machine_commands.nodes, "", "--address HEAD:6379"),
    "doctor": (machine_commands.doctor, ""),
    "frameworks": (machine_commands.frameworks, ""),
    "models": (machine_commands.models, ""),
    "sweeps": (machine_commands.sweeps, "", "my-sweeps/"),
    "report": (result_commands.report, "", "--html report.html", "--utilization --csv"),
    "accept": (
        result_commands.accept,
        "",
        "--baseline fleet.json --junit acceptance.xml",
        "--write-baseline fleet.json",
    ),
    "compare": (
        result_commands.compare,
        "last~1 last",
        '"last variant=eager" "last variant=compile" --fail-on slower',
    ),
    "recommend": (
        result_commands.recommend,
        "resnet50",
        'gpt2-128 --by energy --only "device=gpu dtype=bfloat16"',
    ),
    "query": (
        result_commands.query,
        '"FROM tasks LIMIT 5"',
        '"SELECT model, min(forward_median_ns) FROM tasks GROUP BY model" --format csv',
    ),
}
ENVS_COMMANDS: Commands = {
    "build": (machine_commands.envs_build, "torch", "torch --accelerator gpu"),
    "list": (machine_commands.envs_list, ""),
    "check": (machine_commands.envs_check, "", "torch --offline"),
    "prune": (machine_commands.envs_prune, ""),
    "lock": (machine_commands.envs_lock, "torch"),
}
RESULTS_COMMANDS: Commands = {"check": (result_commands.results_check, "--results results")}


def _format_examples(*lines: str) -> str:
    """Return the end of a help text. Click leaves the lines of a paragraph with \\b as they are."""
    return "\b\nExamples:\n" + "\n".join(f"  velodrome {line}" for line in lines)


def _make_group(commands: Commands, prefix: str, about: str, epilog: str = "") -> typer.Typer:
    group = typer.Typer(
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,  # Rich's help costs half a second of imports
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        help=about,
        epilog=epilog,
    )
    for name, (function, *examples) in commands.items():
        lines = (f"{prefix}{name} {words}".rstrip() for words in examples)
        group.command(name, epilog=_format_examples(*lines))(function)
    return group


app = _make_group(
    COMMANDS,
    "",
    "Time deep-learning frameworks on one machine or a fleet, and verify every gradient.",
    _format_examples("run sweeps/quick.yaml", "report") + "\n\n" + STATUS,
)
envs = _make_group(
    ENVS_COMMANDS, "envs ", "Build, list and check the environments of the frameworks."
)
app.add_typer(envs, name="envs")
app.add_typer(_make_group(RESULTS_COMMANDS, "results ", "Check stored results."), name="results")


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


def main() -> None:
    """Run the command line: `python -m velodrome.scheduler.cli`."""
    from velodrome.scheduler.entry import enter

    enter(lambda: app)
