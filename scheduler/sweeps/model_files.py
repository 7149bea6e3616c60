"""Files of models that a sweep or a command names: added to the models of this process."""

import os
from collections.abc import Iterable
from pathlib import Path

from velodrome.adapters.models import MODELS, user_models
from velodrome.adapters.models.code_kinds import is_code, runs_in
from velodrome.scheduler.errors import ConfigError


def names_file(text: str) -> bool:
    """Return True if a text that stands for a model is a file's name."""
    return text.endswith(user_models.SUFFIX)


def add_model_file(text: str, folder: Path, place: str) -> tuple[str, ...]:
    """Add the models of a file, named as seen from a folder, and return their names.

    The processes on nodes get the file's text, so that a change of it concerns no running sweep.
    ConfigError at `place` if it is missing or wrong.
    """
    path = str((folder / Path(text).expanduser()).resolve())
    sent = [
        known for known in user_models.list_added_files() if Path(known).name == Path(text).name
    ]
    if not Path(path).is_file() and not sent:  # a job's folder holds the sweep alone
        raise ConfigError(place, f"there is no file {path}", "Correct the name.")
    try:
        names = user_models.add_models(MODELS, path if Path(path).is_file() else sent[0])
        os.environ[user_models.TEXTS_VARIABLE] = user_models.encode_added()
    except user_models.ModelFileError as error:
        raise ConfigError(place, str(error), "") from None
    return names


def require_framework(names: Iterable[str], frameworks: Iterable[str], place: str) -> None:
    """Raise ConfigError for code whose framework is not among the given ones."""
    named = tuple(frameworks)
    for name in names:
        model = MODELS[name]
        if is_code(model) and not any(runs_in(model, framework) for framework in named):
            own = getattr(model.input, "framework", "")
            problem = f"{name} is code for {own}, which is not among the frameworks"
            raise ConfigError(place, problem, f"Add {own}, or take the model out.")
