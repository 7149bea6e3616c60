"""Reader of a user's file of code: its constants and functions, without running it.

Drivers and agents have no framework to import, so that the file is only parsed. What they need is
stated in constants at its top level: numbers, texts, lists of them, and products of numbers.
"""

import ast
import hashlib
import os
import re
from typing import Any, Dict, FrozenSet, List, NamedTuple, Tuple

from velodrome.adapters.models.code_kinds import Code, CodeLoss
from velodrome.adapters.models.layers import Model

FRAMEWORK = "FRAMEWORK"
REQUIRED_FUNCTIONS = {
    "make": "Add def make(), which returns the module",
    "batch": "Add def batch(size, draw), which returns a dict of arrays by name",
}
EVALUATION = "inference"  # the function of the phase of that name
# What frameworks without modules cannot guess.
FUNCTIONS_OF = {"numpy": ("forward", "gradient"), "jax": ("forward",)}
CONSTANTS = (
    FRAMEWORK,
    "NAME",
    "BATCH_SIZE",
    "GPU_BATCH_SIZE",
    "UNIT",
    "TOKENS",
    "FORWARD_FLOPS",
    "GRADIENT_FLOPS",
    "REQUIREMENTS",
)
RUNS_CODE = ("torch", "jax", "numpy")
MOST_BATCH = 2**24
_UNIT = re.compile(r"[a-z][a-z -]{0,30}")
_OPERATORS: Dict[type, Any] = {
    ast.Add: lambda left, right: left + right,
    ast.Sub: lambda left, right: left - right,
    ast.Mult: lambda left, right: left * right,
    ast.Div: lambda left, right: left / right,
}


class CodeFileError(Exception):
    """A file of code is wrong. line: in the file."""

    def __init__(self, line: int, problem: str, mend: str) -> None:
        super().__init__(problem)
        self.line, self.problem, self.mend = line, problem, mend


class Constant(NamedTuple):
    """A constant's value and its line."""

    value: Any
    line: int


def states_framework(text: str) -> bool:
    """Return True if a file's text is code: it assigns FRAMEWORK at its top level."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return re.search(r"^FRAMEWORK\s*=", text, re.MULTILINE) is not None
    return any(FRAMEWORK in _list_targets(node) for node in tree.body)


def read_code_model(path: str, text: str) -> Model:
    """Return the model of a file of code. CodeFileError names the line, the problem and the mend.

    Nothing of it is run. Its name is NAME, or that of the file.
    """
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        raise CodeFileError(
            error.lineno or 1, "is not Python: {}".format(error.msg), "Correct it"
        ) from error
    except (ValueError, RecursionError) as error:
        raise CodeFileError(1, "is not Python: {}".format(error), "Correct it") from error
    found = _read_constants(tree)
    framework = found[FRAMEWORK].value
    if framework not in RUNS_CODE:
        problem = "FRAMEWORK is {!r:.80}".format(framework)
        raise CodeFileError(found[FRAMEWORK].line, problem, "Give " + _join(RUNS_CODE))
    names = _list_names(tree)
    _require_functions(names, framework)
    batch_size = _read_count(found, "BATCH_SIZE", 1)
    return Model(
        name=_read(found, "NAME", str, _name_after(path)),
        about=(ast.get_docstring(tree) or "code of the user's").splitlines()[0],
        input=Code(
            framework=framework,
            sha256=hashlib.sha256(text.encode("utf-8")).hexdigest(),
            unit=_read_unit(found),
            tokens=_read_count(found, "TOKENS", 0),
            forward_flops=_read_amount(found, "FORWARD_FLOPS"),
            gradient_flops=_read_amount(found, "GRADIENT_FLOPS"),
            requirements=_read_requirements(found),
            evaluates=EVALUATION in names,
        ),
        layers=(),
        loss=CodeLoss(),
        classes=0,
        batch_size=batch_size,
        gpu_batch_size=_read_count(found, "GPU_BATCH_SIZE", batch_size),
    )


def _name_after(path: str) -> str:
    return os.path.splitext(os.path.basename(path))[0].lower()


def _list_targets(node: ast.stmt) -> Tuple[str, ...]:
    """List the names that a statement assigns."""
    return tuple(name for name, _ in _list_assignments(node))


def _list_assignments(node: ast.stmt) -> Tuple[Tuple[str, ast.expr], ...]:
    """List the names that a statement assigns, each with its value; `a, b = 1, 2` assigns two."""
    if isinstance(node, ast.Assign):
        targets: List[ast.expr] = list(node.targets)
        value = node.value
    elif isinstance(node, ast.AnnAssign) and node.value is not None:
        targets, value = [node.target], node.value
    else:
        return ()
    found: List[Tuple[str, ast.expr]] = []
    for target in targets:
        if isinstance(target, ast.Name):
            found.append((target.id, value))
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
            pairs = zip(target.elts, value.elts)
            found += [(own.id, part) for own, part in pairs if isinstance(own, ast.Name)]
    return tuple(found)


def _read_constants(tree: ast.Module) -> Dict[str, Constant]:
    """Evaluate the top level's assignments of literals and of their sums and products.

    CodeFileError for any other value, such as a call, of a constant of the contract.
    """
    found: Dict[str, Constant] = {}
    for node in tree.body:
        for name, value in _list_assignments(node):
            found.pop(name, None)
            try:
                found[name] = Constant(_evaluate(value, found), node.lineno)
            except (ValueError, TypeError, ArithmeticError, RecursionError):
                if name in CONSTANTS:
                    problem = "{} cannot be read without running the file".format(name)
                    mend = "Give a literal, or sums and products of numbers"
                    raise CodeFileError(node.lineno, problem, mend) from None
    return found


def _evaluate(node: ast.expr, known: Dict[str, Constant]) -> Any:
    """Return the value of a literal, a known name, or sums and products of numbers. ValueError."""
    if isinstance(node, ast.Name) and node.id in known:
        return known[node.id].value
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        sides = (_evaluate(node.left, known), _evaluate(node.right, known))
        if not all(_is_number(side) for side in sides):
            raise ValueError("no numbers")
        return _OPERATORS[type(node.op)](*sides)
    return ast.literal_eval(node)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _list_names(tree: ast.Module) -> FrozenSet[str]:
    """List the names that the top level defines, assigns or imports."""
    names = {getattr(node, "name", "") for node in tree.body}
    for node in tree.body:
        names.update(_list_targets(node))
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names.update(alias.asname or alias.name for alias in node.names)
    return frozenset(names)


def _require_functions(names: FrozenSet[str], framework: str) -> None:
    """Raise CodeFileError unless the functions that the framework needs are among the names."""
    for name, mend in REQUIRED_FUNCTIONS.items():
        if name not in names:
            raise CodeFileError(1, "there is no function `{}`".format(name), mend)
    for name in FUNCTIONS_OF.get(framework, ()):
        if name not in names:
            returns = "(loss, gradients by name)" if name == "gradient" else "the loss"
            mend = "Add def {}(parameters, batch), which returns {}".format(name, returns)
            problem = "there is no function `{}`, which {} needs".format(name, framework)
            raise CodeFileError(1, problem, mend)


def _read(found: Dict[str, Constant], name: str, kind: type, default: Any) -> Any:
    if name not in found:
        return default
    value, line = found[name]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise CodeFileError(line, "{} is {!r:.80}".format(name, value), "Give a text")
    return value


def _read_unit(found: Dict[str, Constant]) -> str:
    unit = _read(found, "UNIT", str, "example")
    if not _UNIT.fullmatch(unit):
        mend = "Give the name of one example, such as image; TOKENS counts tokens"
        raise CodeFileError(found["UNIT"].line, "UNIT is {!r:.80}".format(unit), mend)
    return str(unit)


def _read_count(found: Dict[str, Constant], name: str, default: int) -> int:
    if name not in found:
        return default
    value, line = found[name]
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MOST_BATCH:
        problem = "{} is {!r:.80}".format(name, value)
        raise CodeFileError(line, problem, "Give a whole number above 0")
    return value


def _read_amount(found: Dict[str, Constant], name: str) -> float:
    if name not in found:
        return 0.0
    value, line = found[name]
    if not _is_number(value) or not 0 < value < 1e30:
        problem = "{} is {!r:.80}".format(name, value)
        raise CodeFileError(line, problem, "Give the operations of one example, above 0")
    return float(value)


def _read_requirements(found: Dict[str, Constant]) -> Tuple[str, ...]:
    if "REQUIREMENTS" not in found:
        return ()
    value, line = found["REQUIREMENTS"]
    if not isinstance(value, (list, tuple)) or not all(isinstance(item, str) for item in value):
        problem = "REQUIREMENTS is {!r:.80}".format(value)
        raise CodeFileError(line, problem, 'Give a list such as ["transformers>=4.40"]')
    return tuple(value)


def _join(names: Tuple[str, ...]) -> str:
    return "{} or {}".format(", ".join(names[:-1]), names[-1])
