"""Loads a user's file of code into this process, and explains its errors by file and line."""

import os
import re
import sys
import types
from typing import Any, Callable, Dict, NamedTuple, Optional, Tuple

from velodrome.adapters.contract import Unsupported
from velodrome.adapters.models import user_models
from velodrome.adapters.models.layers import Code, Model

MODULE = "velodrome_own_code"
_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:(==|>=)\s*([0-9][\w.]*))?\s*")
_REASON_LENGTH = 200
_UNUSED_PARAMETER = "not have been used in the graph"  # torch's words


class CodeFailed(Exception):
    """The user's code failed; the text names file, line, problem and mend."""


class PackageMissing(ImportError):
    """The framework's environment lacks what the user's code needs; the text names both."""


class LoadedCode(NamedTuple):
    """A user's file in this process. Functions after batch: None if the file leaves them out."""

    path: str
    name: str  # of the file, without its folder
    framework: str
    make: Callable[..., Any]
    batch: Callable[..., Any]
    forward: Optional[Callable[..., Any]] = None
    gradient: Optional[Callable[..., Any]] = None
    inference: Optional[Callable[..., Any]] = None

    def locate(self, function: Optional[Callable[..., Any]]) -> str:
        """Return the place of a function of it, such as `my_gpt2.py:12`."""
        line = getattr(getattr(function, "__code__", None), "co_firstlineno", 1)
        return "{}:{}".format(self.name, line)

    def reject(self, function: Optional[Callable[..., Any]], problem: str, mend: str) -> CodeFailed:
        """Return the exception for what a function of it returned."""
        return CodeFailed("{}: {}. {}".format(self.locate(function), problem, mend))

    def explain(self, error: Exception, function: Optional[Callable[..., Any]]) -> Exception:
        """Return the exception to raise for one of the user's code, with its line and its mend."""
        if isinstance(error, (CodeFailed, PackageMissing, Unsupported, MemoryError)):
            return error
        place = _find_place(error, self) or self.locate(function)
        name = getattr(function, "__name__", "it")
        text = _shorten(error)
        if isinstance(error, ImportError):
            mend = _mend_environment(self.framework)
            return PackageMissing("{}: {} cannot import: {}. {}".format(place, name, text, mend))
        mend = "Correct it"
        if _UNUSED_PARAMETER in str(error):
            mend = "Call requires_grad_(False) on parameters that the loss does not use"
        return CodeFailed("{}: {} raised {}. {}".format(place, name, text, mend))

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function of it. CodeFailed or PackageMissing for its errors."""
        try:
            return function(*arguments)
        except Exception as error:
            raise self.explain(error, function) from error


_loaded: Dict[str, LoadedCode] = {}  # by the model's name


def load_code(model: Model) -> LoadedCode:
    """Run a model's file once in this process. CodeFailed or PackageMissing if that fails."""
    if model.name not in _loaded:
        _loaded[model.name] = _load(model)
    return _loaded[model.name]


def _load(model: Model) -> LoadedCode:
    source, path = model.input, user_models.find_file(model.name)
    if not isinstance(source, Code):
        raise TypeError("{} is no code".format(model.name))
    name = os.path.basename(path)
    bare = LoadedCode(path, name, source.framework, _missing, _missing)
    _require_packages(bare, source.requirements)
    module = types.ModuleType(MODULE)
    module.__file__ = path
    sys.modules[MODULE] = module  # data classes, and compilers, look there
    text = dict(user_models.list_texts_for(model.name))[path]
    try:
        exec(compile(text, path, "exec"), module.__dict__)
    except Exception as error:
        raise bare.explain(error, None) from error
    functions: Dict[str, Any] = {
        function: getattr(module, function, None)
        for function in ("make", "batch", "forward", "gradient", "inference")
    }
    for function, value in functions.items():
        if value is not None and not callable(value):
            raise bare.reject(None, "`{}` is no function".format(function), "Make it one")
    return bare._replace(**functions)


def _missing() -> None:
    raise AssertionError("the file is not loaded")


def _find_place(error: Exception, code: LoadedCode) -> str:
    """Return the deepest place in the user's file that an exception went through; may be empty."""
    place = ""
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == code.path:
            place = "{}:{}".format(code.name, trace.tb_lineno)
        trace = trace.tb_next
    if isinstance(error, SyntaxError) and error.filename == code.path:
        place = "{}:{}".format(code.name, error.lineno)
    return place


def _shorten(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    kind = type(error).__name__
    return "{}: {}".format(kind, lines[0][:_REASON_LENGTH].rstrip(".")) if lines else kind


def _require_packages(code: LoadedCode, requirements: Tuple[str, ...]) -> None:
    """Raise PackageMissing unless each requirement, such as `transformers>=4.40`, is installed."""
    for requirement in requirements:
        parsed = _REQUIREMENT.fullmatch(requirement)
        if not parsed:
            mend = "Give a name, and perhaps == or >= with a version"
            problem = "REQUIREMENTS holds {!r:.80}".format(requirement)
            raise code.reject(None, problem, mend)
        name, comparison, wanted = parsed.groups()
        found = _find_version(name)
        if found is None or not _fits(found, comparison, wanted):
            has = "has {}".format(found) if found else "lacks it"
            text = "{}: it needs {}, and the environment of {} {}. {}"
            mend = _mend_environment(code.framework)
            raise PackageMissing(text.format(code.name, requirement, code.framework, has, mend))


def _find_version(name: str) -> Optional[str]:
    # The frameworks that run code have Python 3.8 or newer.
    from importlib import metadata  # novm

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _fits(found: str, comparison: Optional[str], wanted: Optional[str]) -> bool:
    """Return True if a version fits; local parts, such as +cpu, count for nothing."""
    if not comparison or not wanted:
        return True
    if comparison == "==":
        return found.partition("+")[0] == wanted
    return _parse_release(found) >= _parse_release(wanted)


def _parse_release(version: str) -> Tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version.partition("+")[0])[:4])


def _mend_environment(framework: str) -> str:
    return "Name an interpreter that has it: VELODROME_PYTHON_{}=/path/to/python".format(
        framework.upper()
    )
