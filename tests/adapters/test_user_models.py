"""Models of the user's own: which files are read, and what is wrong with them."""

import os
from pathlib import Path

import pytest

from velodrome.adapters.models import MODELS, user_models
from velodrome.adapters.models.user_models import ModelFileError

MODEL = """
from velodrome.adapters.models.layers import Linear, Model, SoftmaxCrossEntropy, Vectors

MINE = Model(
    {name!r}, "one layer", Vectors(4, "normal"), ({layers}), SoftmaxCrossEntropy(), 3, {batch}, 2
)
"""


def write(path: Path, name: str = "mine", layers: str = "Linear('a', 3),", batch: int = 2) -> str:
    path.write_text(MODEL.format(name=name, layers=layers, batch=batch))
    return str(path)


@pytest.fixture(autouse=True)
def _forgets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user_models, "_added", {})


def test_a_file_and_a_folder_of_files_may_be_named(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    single, first, second = (
        write(tmp_path / "single.py"),
        write(folder / "a.py"),
        write(folder / "b.py"),
    )
    (folder / "notes.txt").write_text("no models")
    value = os.pathsep.join([single, str(folder), single])
    assert user_models.list_model_files(value) == (single, first, second)
    assert user_models.list_model_files("") == ()


@pytest.mark.parametrize(
    ("name", "problem"),
    [("missing.py", "there is no such file or folder"), ("", "contains no file of models")],
)
def test_a_place_without_models_is_refused_by_its_path(
    tmp_path: Path, name: str, problem: str
) -> None:
    with pytest.raises(ModelFileError, match=problem) as caught:
        user_models.list_model_files(str(tmp_path / name))
    assert str(tmp_path) in str(caught.value)


def test_models_are_added_once_with_their_file(tmp_path: Path) -> None:
    zoo = dict(MODELS)
    path = write(tmp_path / "mine.py")
    assert user_models.add_models(zoo, path) == ("mine",)
    assert user_models.add_models(zoo, path) == ("mine",)
    assert zoo["mine"].layers[0].units == 3
    assert user_models.list_added_files() == (path,)


def test_a_users_definition_has_a_hash_and_velodromes_have_none(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.py")
    user_models.add_models({}, path)
    before = user_models.hash_definition("mine")
    user_models._added.clear()
    write(tmp_path / "mine.py", layers="Linear('a', 3, bias=False),")
    user_models.add_models({}, path)
    assert before != user_models.hash_definition("mine") != ""
    assert user_models.hash_definition("lenet") == ""


def test_a_file_that_is_edited_within_a_second_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    units = []
    for layers in ("Linear('a', 3),", "Linear('a', 7),"):
        write(path, layers=layers)
        os.utime(path, (1, 1))
        (model,) = user_models.read_models(str(path))
        units.append(model.layers[0].units)
    assert units == [3, 7]
    assert [entry.name for entry in tmp_path.iterdir()] == ["mine.py"]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("import nowhere", "cannot be run: ModuleNotFoundError"),
        ("MINE = 3", "holds no Model"),
        (MODEL.format(name="Mine!", layers="Linear('a', 3),", batch=2), "not a valid name"),
        (MODEL.format(name="mine", layers="", batch=2), "it has no layer"),
        (
            MODEL.format(name="mine", layers="Linear('a', 3), Linear('a', 3)", batch=2),
            "two layers are named 'a'",
        ),
        (
            MODEL.format(name="mine", layers="Linear('a', 3, inputs=('b',)),", batch=2),
            "layer a reads b",
        ),
        (MODEL.format(name="mine", layers="Linear('a', 3),", batch=0), "a batch size below 1"),
        (MODEL.format(name="lenet", layers="Linear('a', 3),", batch=2), "taken by Velodrome"),
    ],
)
def test_a_wrong_file_is_refused_with_the_reason(
    tmp_path: Path, content: str, problem: str
) -> None:
    (tmp_path / "mine.py").write_text(content)
    with pytest.raises(ModelFileError, match=problem) as caught:
        user_models.add_models(dict(MODELS), str(tmp_path / "mine.py"))
    assert str(caught.value).startswith(f"{tmp_path / 'mine.py'}: ")


def test_two_files_cannot_share_a_name(tmp_path: Path) -> None:
    zoo = dict(MODELS)
    first = write(tmp_path / "first.py")
    user_models.add_models(zoo, first)
    with pytest.raises(ModelFileError, match=f"'mine' is taken by {first}. Rename the model"):
        user_models.add_models(zoo, write(tmp_path / "second.py"))
