"""Every page: its links lead somewhere, and its commands and options exist."""

import re
import shlex
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import pytest
import typer

from velodrome.scheduler.cli import app
from velodrome.scheduler.cli_page import build_page as build_cli_page
from velodrome.scheduler.peaks_page import build_page as build_peaks_page

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    {
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "deploy").rglob("*.md"),
        ROOT / "benchmarks" / "README.md",
    }
    - {ROOT / "CHANGELOG.md"}  # which also names removed things
)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"```.*?```|`[^`\n]+`", re.DOTALL)
CALL = re.compile(r"(?:^|(?<=[\s`/$(]))velodrome ((?:[^\n`\\|;&#]|\\\n|\\\||\|(?=\w))+)")
COMMAND_LINE = typer.main.get_command(app)


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def prose(page: Path) -> str:
    """Return a page without its code, in which brackets are no links."""
    return CODE.sub("", text_of(page))


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, by GitHub's rule; a repeated one gets a number."""
    found: dict[str, int] = {}
    names = set()
    for heading in re.findall(
        r"^#+ +(.+?) *$", re.sub(r"(?ms)^```.*?^```", "", text_of(page)), re.M
    ):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").lower()
        name = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        count = found[name] = found.get(name, -1) + 1
        names.add(f"{name}-{count}" if count else name)
    return names


def broken_links(page: Path) -> Iterator[str]:
    for target in LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        found = (page.parent / file).resolve() if file else page
        if not found.exists():
            yield f"{target}: no such file"
        elif anchor and anchor not in anchors(found):
            yield f"{target}: no such heading"


def calls(text: str) -> Iterator[list[str]]:
    """Yield the words after `velodrome` wherever a page's code has a command."""
    for code in CODE.findall(text):
        for call in CALL.findall(code):
            line = call.replace("\\\n", " ").replace("\\|", "|")
            try:
                yield shlex.split(line)
            except ValueError:  # a quotation that goes on in the next line
                yield line.split()


def unknown_words(words: Sequence[str]) -> Iterator[str]:
    """Yield the command or the options that our command line does not have."""
    command = COMMAND_LINE
    rest = list(words)
    while hasattr(command, "commands") and rest and not rest[0].startswith("-"):
        name = rest.pop(0)
        if name not in command.commands:
            if name[0].islower():  # a capital stands for any command
                yield name
            return
        command = command.commands[name]
    known = {"-h", "--help", *(option for one in command.params for option in one.opts)}
    yield from (
        word
        for word in (word.split("=")[0].strip("[]") for word in rest)
        if word.startswith("--") and word not in known
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_to_a_file_or_heading(page: Path) -> None:
    assert list(broken_links(page)) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_and_option_in_a_page_exists(page: Path) -> None:
    text = text_of(page)
    wrong = {f"{' '.join(words)}: {word}" for words in calls(text) for word in unknown_words(words)}
    alone = set(re.findall(r"`(--[\w-]+)", text))
    every = {option for words in ([], *commands()) for option in (*options_of(words), "--help")}
    assert (wrong, alone - every - of_benchmarks()) == (set(), set())


@cache
def of_benchmarks() -> set[str]:
    scripts = (ROOT / "benchmarks").glob("*.py")
    return {option for file in scripts for option in re.findall(r'"(--[\w-]+)"', file.read_text())}


def commands() -> Iterator[list[str]]:
    for name, command in COMMAND_LINE.commands.items():
        subcommands = getattr(command, "commands", {})
        yield from ([name, sub] for sub in subcommands) if subcommands else [[name]]


def options_of(words: Sequence[str]) -> list[str]:
    command = COMMAND_LINE
    for word in words:
        command = command.commands[word]
    return [option for one in command.params for option in one.opts]


def test_the_page_checks_detect_planted_errors(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# One `two`, three\n\n[a](#one-two-three) [b](#four) [c](none.md) [d](https://e.f)\n\n"
        "```sh\nvelodrome report --html FILE --nothing\nvelodrome reports\n```\n"
    )
    assert list(broken_links(page)) == ["#four: no such heading", "none.md: no such file"]
    words = [word for call in calls(text_of(page)) for word in unknown_words(call)]
    assert words == ["--nothing", "reports"]


def test_the_command_line_page_is_up_to_date() -> None:
    assert text_of(ROOT / "docs" / "cli.md") == build_cli_page(), "not up to date: make docs"


def test_the_page_of_peaks_is_up_to_date() -> None:
    assert text_of(ROOT / "docs" / "peaks.md") == build_peaks_page(), "not up to date: make docs"


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_the_command_line_page_has_every_command(words: list[str]) -> None:
    section = build_cli_page().split(f"\n## velodrome {' '.join(words)}\n")[1].split("\n## ")[0]
    shown = re.findall(r"`(--[\w-]+)", section)
    assert set(options_of(words)) - {"--sweep-id"} <= {*shown, *section.lower().split("`")} | {
        option for option in options_of(words) if not option.startswith("--")
    }
