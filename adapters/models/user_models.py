"""Models of the user's own, from files outside of Velodrome.

The variable VELODROME_MODELS names files, and folders of files, separated as in PATH. A file is one
like velodrome/adapters/models/lenet.py: it imports velodrome.adapters.models.layers and gives names
to values of the type Model. Every interpreter of a framework reads it, so it needs Python 3.6's
syntax, and no other file.
"""

import hashlib
import os
import re
from typing import Dict, List, Tuple

from velodrome.adapters.models import shapes
from velodrome.adapters.models.layers import Model

VARIABLE = "VELODROME_MODELS"
SUFFIX = ".py"
HASH_LENGTH = 12
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)?")


class ModelFileError(Exception):
    """A file of models is wrong; the text names the place, the problem and the mend."""

    def __init__(self, path: str, problem: str, mend: str) -> None:
        super().__init__("{}: {}. {}".format(path, problem, mend))
        self.path, self.problem, self.mend = path, problem, mend


_added: Dict[str, Tuple[str, Model]] = {}  # the user's models that this process knows, with files


def list_model_files(value: str) -> Tuple[str, ...]:
    """List the files that a value of VELODROME_MODELS names. ModelFileError if one is missing."""
    found: List[str] = []
    for place in filter(None, value.split(os.pathsep)):
        path = os.path.abspath(os.path.expanduser(place))
        if os.path.isdir(path):
            names = sorted(name for name in os.listdir(path) if name.endswith(SUFFIX))
            if not names:
                raise ModelFileError(path, "contains no file of models", "Put one there")
            found += [os.path.join(path, name) for name in names]
        elif os.path.isfile(path):
            found.append(path)
        else:
            raise ModelFileError(path, "there is no such file or folder", _mend_variable())
    return tuple(dict.fromkeys(found))


def read_models(path: str) -> Tuple[Model, ...]:
    """Return the models of a file. ModelFileError if it fails, holds none or an invalid one."""
    names: Dict[str, object] = {"__name__": "velodrome_user_models", "__file__": path}
    try:
        # Not by an import: Python takes compiled code for current that is as old as a quick edit.
        with open(path, encoding="utf-8") as file:
            exec(compile(file.read(), path, "exec"), names)
    except Exception as error:
        problem = "cannot be run: {}: {}".format(type(error).__name__, error)
        raise ModelFileError(path, problem, "Correct it") from error
    models = tuple(value for value in names.values() if isinstance(value, Model))
    if not models:
        raise ModelFileError(path, "holds no Model", "Give one a name, as docs/adding-a-model.md")
    for model in models:
        _require_valid(model, path)
    return models


def add_models(zoo: Dict[str, Model], path: str) -> Tuple[str, ...]:
    """Add a file's models to the zoo and return their names. ModelFileError if a name is taken.

    A file that was added before gives the same models, whatever it holds now.
    """
    before = tuple(name for name, (file, _) in _added.items() if file == path)
    if before:
        return before
    models = read_models(path)
    for model in models:
        if model.name in zoo:
            owner = _added[model.name][0] if model.name in _added else "Velodrome"
            problem = "the name {!r} is taken by {}".format(model.name, owner)
            raise ModelFileError(path, problem, "Rename the model")
        zoo[model.name] = model
        _added[model.name] = (path, model)
    return tuple(model.name for model in models)


def hash_definition(name: str) -> str:
    """Return a hash of a user's model, which may change under its name; empty for any other."""
    if name not in _added:
        return ""
    return hashlib.sha256(repr(_added[name][1]).encode()).hexdigest()[:HASH_LENGTH]


def list_added_files() -> Tuple[str, ...]:
    """List the files whose models this process knows."""
    return tuple(dict.fromkeys(path for path, _ in _added.values()))


def _require_valid(model: Model, path: str) -> None:
    mend = "Use lower-case letters, digits, `.`, `-` and `_`, with at most one `/` between"
    if not isinstance(model.name, str) or not _NAME.fullmatch(model.name):
        raise ModelFileError(path, "{!r} is not a valid name of a model".format(model.name), mend)
    names = [layer.name for layer in model.layers]
    twice = [name for name in names if names.count(name) > 1 or name == "input"]
    if twice or not names:
        problem = "two layers are named {!r}".format(twice[0]) if twice else "it has no layer"
        mend = "Give every layer a name of its own, other than `input`"
        raise ModelFileError(path, "{}: {}".format(model.name, problem), mend)
    if min(model.batch_size, model.gpu_batch_size) < 1:
        raise ModelFileError(path, "{}: a batch size below 1".format(model.name), "Give 1 or more")
    try:
        shapes.list_parameters(model)
    except (ValueError, TypeError, IndexError, AttributeError) as error:
        raise ModelFileError(path, str(error), "Correct the layers") from error


def _mend_variable() -> str:
    return "Correct {}: files and folders, separated by {!r}".format(VARIABLE, os.pathsep)
