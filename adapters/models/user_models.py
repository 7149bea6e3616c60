"""Models of the user's own, from files outside of Velodrome.

The variable VELODROME_MODELS names files, and folders of files, separated as in PATH. A file is one
of two kinds. One of data is like velodrome/adapters/models/lenet.py: it imports
velodrome.adapters.models.layers and gives names to values of the type Model; every interpreter of a
framework reads it, so it needs Python 3.6's syntax, and no other file. One of code assigns
FRAMEWORK (velodrome.adapters.models.code_files); only its own framework runs it.

A file is read once. From then on its text is what nodes and workers get, whatever the file holds.
"""

import base64
import hashlib
import json
import os
import re
import zlib
from typing import Dict, List, NamedTuple, Tuple

from velodrome.adapters.models import shapes
from velodrome.adapters.models.code_files import CodeFileError, read_code_model, states_framework
from velodrome.adapters.models.code_kinds import is_code
from velodrome.adapters.models.layers import Model

VARIABLE = "VELODROME_MODELS"
TEXTS_VARIABLE = "VELODROME_MODEL_TEXTS"  # the files themselves, for the processes on nodes
MOST_SENT = 2**17 - 2**12  # characters: Linux allows 128 KiB for a variable
SUFFIX = ".py"
HASH_LENGTH = 12
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)?")


class ModelFileError(Exception):
    """A file of models is wrong; the text names the place, the problem and the mend."""

    def __init__(self, path: str, problem: str, mend: str) -> None:
        super().__init__("{}: {}. {}".format(path, problem, mend))
        self.path, self.problem, self.mend = path, problem, mend


class AddedModel(NamedTuple):
    """A user's model, the path of its file where it was read first, and that file's text."""

    path: str
    model: Model
    text: str


_added: Dict[str, AddedModel] = {}  # the user's models that this process knows


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
    return _parse_models(path, _read_text(path))


def _read_text(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except (OSError, ValueError) as error:
        problem = "cannot be read: {}".format(error)
        raise ModelFileError(path, problem, "Correct it") from error


def _parse_models(path: str, text: str) -> Tuple[Model, ...]:
    if states_framework(text):
        return (_parse_code(path, text),)
    names: Dict[str, object] = {"__name__": "velodrome_user_models", "__file__": path}
    try:
        # Not by an import: Python takes compiled code for current that is as old as a quick edit.
        exec(compile(text, path, "exec"), names)
    except Exception as error:
        problem = "cannot be run: {}: {}".format(type(error).__name__, error)
        raise ModelFileError(path, problem, "Correct it") from error
    models = tuple(value for value in names.values() if isinstance(value, Model))
    if not models:
        mend = "Give one a name, or assign FRAMEWORK if it is code, as docs/adding-a-model.md"
        raise ModelFileError(path, "holds no Model", mend)
    for model in models:
        _require_name(model, path)
        _require_valid(model, path)
    return models


def _parse_code(path: str, text: str) -> Model:
    try:
        model = read_code_model(path, text)
    except CodeFileError as error:
        place = "{}:{}".format(path, error.line)
        raise ModelFileError(place, error.problem, error.mend) from error
    _require_name(model, path)
    return model


def add_models(zoo: Dict[str, Model], path: str) -> Tuple[str, ...]:
    """Add a file's models to the zoo and return their names. ModelFileError if a name is taken.

    A file that was added before gives the same models, whatever it holds now.
    """
    before = tuple(name for name, added in _added.items() if added.path == path)
    return before or _add(zoo, path, _read_text(path))


def _add(zoo: Dict[str, Model], path: str, text: str) -> Tuple[str, ...]:
    models = _parse_models(path, text)
    for model in models:
        if model.name in zoo:
            owner = _added[model.name].path if model.name in _added else "Velodrome"
            problem = "the name {!r} is taken by {}".format(model.name, owner)
            raise ModelFileError(path, problem, "Rename the model")
        zoo[model.name] = model
        _added[model.name] = AddedModel(path, model, text)
    return tuple(model.name for model in models)


def encode_added() -> str:
    """Return all added files as the value of VELODROME_MODEL_TEXTS; empty if there is none.

    ModelFileError if they are too large for a variable.
    """
    texts = {added.path: added.text for added in _added.values()}
    if not texts:
        return ""
    packed = zlib.compress(json.dumps(texts, sort_keys=True).encode("utf-8"), 9)
    value = base64.b64encode(packed).decode("ascii")
    if len(value) > MOST_SENT:
        problem = "the files of models are too large to send to nodes"
        raise ModelFileError(max(texts, key=lambda path: len(texts[path])), problem, "Shorten them")
    return value


def add_encoded(zoo: Dict[str, Model], value: str) -> None:
    """Add the files in a value of VELODROME_MODEL_TEXTS, those that are known already excepted."""
    texts = json.loads(zlib.decompress(base64.b64decode(value)).decode("utf-8")) if value else {}
    known = {added.path for added in _added.values()}
    for path, text in texts.items():
        if path not in known:
            _add(zoo, path, text)


def hash_definition(name: str) -> str:
    """Return a hash of a user's model, which may change under its name; empty for any other."""
    if name not in _added:
        return ""
    return hashlib.sha256(repr(_added[name].model).encode()).hexdigest()[:HASH_LENGTH]


def list_added_files() -> Tuple[str, ...]:
    """List the files whose models this process knows."""
    return tuple(dict.fromkeys(added.path for added in _added.values()))


def list_texts_for(name: str) -> Tuple[Tuple[str, str], ...]:
    """List the files, as (path, text), that a worker for a model reads.

    All files of data; of code only the model's own, whose syntax other interpreters may not have.
    """
    texts = {
        added.path: added.text
        for added in _added.values()
        if added.model.name == name or not is_code(added.model)
    }
    return tuple(texts.items())


def find_file(name: str) -> str:
    """Return the path of the file of a user's model; empty for any other model."""
    return _added[name].path if name in _added else ""


def _require_name(model: Model, path: str) -> None:
    mend = "Use lower-case letters, digits, `.`, `-` and `_`, with at most one `/` between"
    if not isinstance(model.name, str) or not _NAME.fullmatch(model.name):
        raise ModelFileError(path, "{!r} is not a valid name of a model".format(model.name), mend)


def _require_valid(model: Model, path: str) -> None:
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
