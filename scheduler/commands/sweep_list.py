"""The `sweeps` command: a table of sweep files and what each is for."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from velodrome.adapters.models import MODELS, list_families
from velodrome.scheduler.commands.output import Row, print_json, print_lines, print_table
from velodrome.scheduler.errors import ConfigError
from velodrome.scheduler.next_commands import format_command
from velodrome.scheduler.sweeps.expansion import expand_cells
from velodrome.scheduler.sweeps.sweep import Sweep
from velodrome.scheduler.sweeps.sweep_file import load_sweep

FOLDER = "sweeps"
SHIPPED = Path(__file__).resolve().parents[2] / FOLDER  # only in a checkout
MOST_NAMES = 3  # in a cell of the table
SUFFIXES = (".yaml", ".yml")


def sweeps(paths: Sequence[Path], *, as_json: bool) -> int:
    """Print a row for each sweep file of these files and folders. Exit status 2 if one is wrong."""
    files = tuple(_list_sweep_files(paths or (_find_folder(),)))
    rows = [_describe(file) for file in files]
    sound = [row for row in rows if not row["error"]]
    if as_json:
        print_json(rows)
    elif rows:
        print_table([_to_table_row(row) for row in rows], right=frozenset({"cells", "runs"}))
        print_lines(
            *(str(row["error"]) for row in rows if row["error"]),
            "cells: combinations that the file asks for; runs: cells x repeats, on one node",
            *(f"next: {format_command('plan', row['file'])}" for row in sound[:1]),
        )
    else:
        print_lines(f"no sweep file (*.yaml) in {', '.join(map(str, paths)) or _find_folder()}")
    return 0 if len(sound) == len(rows) else 2


def _find_folder() -> Path:
    """Return sweeps/ of the current folder, or else that of the checkout."""
    folder = Path(FOLDER)
    return folder if folder.is_dir() or not SHIPPED.is_dir() else SHIPPED


def _list_sweep_files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from sorted(file for file in path.iterdir() if file.suffix in SUFFIXES)
        else:
            yield path


def _describe(file: Path) -> Row:
    row: dict[str, object] = {"file": str(file), "name": "", "about": "", "error": ""}
    counts: dict[str, object] = {"frameworks": (), "models": (), "cells": None, "runs": None}
    try:
        sweep = load_sweep(file)
    except ConfigError as error:
        return row | {"error": str(error)} | counts
    cells = len(expand_cells(sweep))
    return row | {
        "name": sweep.name,
        "about": first_sentence(sweep.text),
        "frameworks": [entrant.framework for entrant in sweep.entrants],
        "models": _shorten_model_names(sweep),
        "cells": cells,
        "runs": cells * sweep.repeats,
    }


def first_sentence(text: str) -> str:
    """Return the first sentence of the comment at the top of a sweep file; empty without one."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("#").strip())
    return " ".join(lines).split(". ")[0].removesuffix(".")


def _shorten_model_names(sweep: Sweep) -> list[str]:
    """Return the models of a sweep, with the family's name in place of all its parts."""
    whole = {family for family, parts in list_families().items() if {*parts} <= {*sweep.models}}
    names = [name.split("/")[0] if name.split("/")[0] in whole else name for name in sweep.models]
    return list(dict.fromkeys(names)) if len(names) < len(MODELS) else ["all"]


def _to_table_row(row: Row) -> Row:
    texts = {
        name: _abbreviate(value)
        if isinstance(value, Sequence) and not isinstance(value, str)
        else ""
        if value is None
        else value
        for name, value in row.items()
        if name not in ("name", "about", "error")
    }
    return texts | {"about": row["about"] or ("invalid, see below" if row["error"] else "")}


def _abbreviate(names: Sequence[str]) -> str:
    rest = len(names) - MOST_NAMES
    return " ".join(names) if rest <= 1 else f"{' '.join(names[:MOST_NAMES])} and {rest} more"
