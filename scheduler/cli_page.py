"""Generator of docs/cli.md, which prints it: `python -m velodrome.scheduler.cli_page`."""

import sys
from collections.abc import Iterator, Sequence
from textwrap import dedent

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

from velodrome.scheduler.cli import app

HEAD = """\
# The command line

This page is generated (`make docs`) from `scheduler/cli/`, as is `velodrome COMMAND --help`.
Words: [glossary.md](glossary.md).
"""


def build_page() -> str:
    """Return the page as Markdown."""
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    sections = (
        "\n".join(lines) for lines in (_own_section(group), *_build_sections(group, "velodrome"))
    )
    return "\n\n".join([HEAD.rstrip(), *sections]) + "\n"


def _own_section(group: TyperGroup) -> Sequence[str]:
    """Return the lines about options and exit status that all commands share."""
    statuses = _extract_paragraph(group, "Exit status:")
    return [
        "## velodrome",
        "",
        group.help or "",
        "",
        *_build_table(group),
        "",
        *_fence(statuses, "text"),
    ]


def _build_sections(group: TyperGroup, prefix: str) -> Iterator[Sequence[str]]:
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from _build_sections(command, f"{prefix} {name}")
        elif isinstance(command, TyperCommand):
            about = (command.help or "").rstrip()
            examples = _fence(_extract_paragraph(command, "Examples:"), "shell")
            yield [f"## {prefix} {name}", "", about, "", *examples, "", *_build_table(command)]


def _extract_paragraph(command: TyperCommand | TyperGroup, title: str) -> str:
    """Return one paragraph of an epilog, without its title."""
    parts = (command.epilog or "").split("\b\n")
    (text,) = (part.removeprefix(title) for part in parts if part.startswith(title))
    return dedent(text.strip("\n")).rstrip()


def _fence(text: str, language: str) -> Sequence[str]:
    return [f"```{language}", text, "```"]


def _build_table(command: TyperCommand | TyperGroup) -> Iterator[str]:
    yield "| | | default |"
    yield "|---|---|---|"
    for parameter in command.params:
        if isinstance(parameter, TyperArgument | TyperOption) and not parameter.hidden:
            text = (parameter.help or "").replace("|", "\\|")
            yield f"| {_format_usage(parameter)} | {text} | {_format_default(parameter)} |"


def _format_usage(parameter: TyperArgument | TyperOption) -> str:
    """Return how it is typed, e.g. `--results VALUE`, `SWEEP` or `[NAMES]...`."""
    if isinstance(parameter, TyperOption):
        return ", ".join(
            f"`{name}{'' if parameter.is_flag else ' VALUE'}`" for name in parameter.opts
        )
    name = (parameter.metavar or str(parameter.name)).upper()
    return f"`{name if parameter.required else f'[{name}]'}{'...' * (parameter.nargs < 0)}`"


def _format_default(parameter: TyperArgument | TyperOption) -> str:
    return f"`{parameter.default}`" if parameter.default else ""


if __name__ == "__main__":
    sys.stdout.write(build_page())
