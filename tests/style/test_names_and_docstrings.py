"""Rules for public names and docstrings, checked over the source of all three folders."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("adapters", "agents", "scheduler")
# A docstring that opens with one of these is half a sentence in an index of the API.
OPENINGS = {"Of", "What", "Whether", "As", "By", "Those", "How", "Which", "Who", "Where", "That"}
FRAMEWORKS_FOLDER = "adapters/frameworks/"  # in which each framework has its own of a kind

Definition = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def sources() -> Iterator[tuple[Path, ast.Module]]:
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path.relative_to(ROOT), ast.parse(path.read_text())


def documented(tree: ast.Module) -> Iterator[tuple[Definition, str]]:
    for node in ast.walk(tree):
        if isinstance(node, Definition) and (text := ast.get_docstring(node)):
            yield node, text


def test_every_module_has_a_docstring() -> None:
    assert [str(path) for path, tree in sources() if not ast.get_docstring(tree)] == []


def test_no_docstring_opens_with_half_a_sentence() -> None:
    found = [
        f"{path}:{getattr(node, 'lineno', 1)}: {text.splitlines()[0]}"
        for path, tree in sources()
        for node, text in documented(tree)
        if text.split()[0].rstrip(",:") in OPENINGS
    ]
    assert found == []


def test_a_public_class_name_is_defined_once() -> None:
    places = defaultdict(list)
    for path, tree in sources():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(str(path))
    del places["Adapter"]  # the contract, and each framework's
    repeated = {
        name: where
        for name, where in places.items()
        if len(where) > 1 and not all(path.startswith(FRAMEWORKS_FOLDER) for path in where)
    }
    assert repeated == {}
