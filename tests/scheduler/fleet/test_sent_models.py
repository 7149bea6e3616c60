"""A user's files of models on their way to the nodes of a cluster."""

import json
from pathlib import Path

import pytest

from velodrome.adapters.models import user_models
from velodrome.scheduler.fleet.cluster import build_runtime_environment

CODE = "FRAMEWORK = 'torch'\nNAME = 'sent-code'\ndef make(): ...\ndef batch(size, draw): ...\n"


@pytest.fixture
def added(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    monkeypatch.setattr(user_models, "_added", {})
    monkeypatch.setenv(user_models.VARIABLE, str(tmp_path))
    path = tmp_path / "code.py"
    path.write_text(CODE)
    user_models.add_models({}, str(path))
    return str(path)


def test_nodes_get_the_text_of_a_file_and_no_path_to_look_for(
    added: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(added).write_text("changed since it was read")
    variables = build_runtime_environment("package")["env_vars"]
    assert user_models.VARIABLE not in variables
    monkeypatch.setattr(user_models, "_added", {})
    zoo: dict = {}
    user_models.add_encoded(zoo, variables[user_models.TEXTS_VARIABLE])
    assert list(zoo) == ["sent-code"]
    assert user_models.list_texts_for("sent-code") == ((added, CODE),)


def test_a_job_that_has_them_sends_them_only_once(added: str) -> None:
    sent = build_runtime_environment("package")
    job = json.dumps({"runtime_env": {"env_vars": sent["env_vars"]}})
    assert user_models.TEXTS_VARIABLE not in build_runtime_environment("package", job)["env_vars"]
