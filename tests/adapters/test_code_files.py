"""A user's file of code: what is read from it without running it, and what is wrong with it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from velodrome.adapters.models import MODELS, products, shapes, user_models
from velodrome.adapters.models.code_files import read_code_model, states_framework
from velodrome.adapters.models.code_kinds import is_code, runs_in
from velodrome.adapters.models.user_models import ModelFileError

FUNCTIONS = "def make(): ...\ndef batch(size, draw): ...\n"
HEAD = '"""Two words. And more."""\nimport nowhere\nFRAMEWORK = "torch"\n'


@pytest.fixture(autouse=True)
def _forgets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user_models, "_added", {})


def write(folder: Path, text: str) -> str:
    path = folder / "mine.py"
    path.write_text(text)
    return str(path)


def test_constants_are_read_without_running_the_file() -> None:
    text = HEAD + "EIGHT, BATCH_SIZE = 8, 4\nTOKENS = EIGHT * 4\nFORWARD_FLOPS = 2e3 * TOKENS\n"
    model = read_code_model("/somewhere/My_Net.py", text + "BATCH_SIZE: int = 3\n" + FUNCTIONS)
    assert (model.name, model.about) == ("my_net", "Two words. And more.")
    assert (model.batch_size, model.gpu_batch_size) == (3, 3)
    assert (model.input.tokens, model.input.forward_flops) == (32, 64e3)
    assert is_code(model)
    assert runs_in(model, "torch==2.12.1")
    assert not runs_in(model, "jax")


def test_work_is_what_the_file_states() -> None:
    constants = "TOKENS = 5\nFORWARD_FLOPS = 10\nGRADIENT_FLOPS = 30\n"
    model = read_code_model("a.py", HEAD + constants + FUNCTIONS)
    assert products.count_units(model, 4) == ("token", 4, 20.0)
    assert products.count_forward_flops(model, 4) == 40.0
    assert products.count_gradient_flops(model, 4) == 120.0
    assert shapes.list_timed_phases(model)[:2] == ("forward", "gradient")
    bare = read_code_model("a.py", HEAD + "UNIT = 'image'\n" + FUNCTIONS)
    assert products.count_units(bare, 4) == ("image", 4, None)
    assert products.count_forward_flops(bare, 4) == 0.0


def test_functions_may_be_imported_or_assigned() -> None:
    text = 'FRAMEWORK = "torch"\nfrom somewhere import make\nbatch = lambda size, draw: {}\n'
    assert read_code_model("a.py", text).input.framework == "torch"


@pytest.mark.parametrize(
    ("text", "line", "problem", "mend"),
    [
        ('FRAMEWORK = "chainer"\n', 1, "FRAMEWORK is 'chainer'", "Give torch, jax or numpy"),
        ('FRAMEWORK = str("torch")\n', 1, "FRAMEWORK cannot be read", "Give a literal"),
        (HEAD + "TOKENS = len('ab')\n" + FUNCTIONS, 4, "TOKENS cannot be read", "Give a literal"),
        (HEAD, 1, "there is no function `make`", "Add def make()"),
        (
            HEAD + "def make(): ...\n",
            1,
            "there is no function `batch`",
            "Add def batch(size, draw)",
        ),
        (HEAD + "BATCH_SIZE = 0\n" + FUNCTIONS, 4, "BATCH_SIZE is 0", "a whole number above 0"),
        (HEAD + "BATCH_SIZE = True\n" + FUNCTIONS, 4, "BATCH_SIZE is True", "whole number"),
        (HEAD + "TOKENS = 2.5\n" + FUNCTIONS, 4, "TOKENS is 2.5", "Give a whole number"),
        (HEAD + "FORWARD_FLOPS = -1\n" + FUNCTIONS, 4, "FORWARD_FLOPS is -1", "operations of one"),
        (HEAD + "UNIT = '<b>'\n" + FUNCTIONS, 4, "UNIT is '<b>'", "the name of one example"),
        (HEAD + "REQUIREMENTS = 'a'\n" + FUNCTIONS, 4, "REQUIREMENTS is 'a'", "Give a list"),
        (HEAD + "NAME = 3\n" + FUNCTIONS, 4, "NAME is 3", "Give a text"),
        (HEAD + "NAME = 'No Name'\n" + FUNCTIONS, None, "not a valid name", "lower-case letters"),
        (HEAD + "def make(:\n", 4, "is not Python", "Correct it"),
        ("FRAMEWORK = 'numpy'\n" + FUNCTIONS, 1, "no function `forward`, which numpy needs", "Add"),
        ("FRAMEWORK = 'jax'\n" + FUNCTIONS, 1, "no function `forward`, which jax needs", "loss"),
    ],
)
def test_a_wrong_file_is_named_with_its_line_and_the_mend(
    tmp_path: Path, text: str, line: int | None, problem: str, mend: str
) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ModelFileError) as caught:
        user_models.read_models(path)
    assert str(caught.value).startswith(path + (f":{line}: " if line else ": "))
    assert problem in str(caught.value)
    assert mend in str(caught.value)


def test_a_file_of_models_is_no_code() -> None:
    assert not states_framework("from velodrome.adapters.models.layers import Model\n")
    assert not states_framework("def f():\n    FRAMEWORK = 'torch'\n")


def test_a_changed_text_is_another_definition(tmp_path: Path) -> None:
    path = write(tmp_path, HEAD + FUNCTIONS)
    user_models.add_models({}, path)
    before = user_models.hash_definition("mine")
    user_models._added.clear()
    write(tmp_path, HEAD + FUNCTIONS + "# one more line\n")
    user_models.add_models({}, path)
    assert "" != before != user_models.hash_definition("mine")


def test_a_worker_reads_no_code_of_another_framework(tmp_path: Path) -> None:
    code = tmp_path / "code.py"
    code.write_text(HEAD + FUNCTIONS)
    user_models.add_models({}, str(code))
    assert user_models.list_texts_for("lenet") == ()
    assert user_models.list_texts_for("code") == ((str(code), HEAD + FUNCTIONS),)


def test_a_file_travels_by_its_text_to_a_machine_that_has_none(tmp_path: Path) -> None:
    path = write(tmp_path, HEAD + "BATCH_SIZE = 7\n" + FUNCTIONS)
    user_models.add_models({}, path)
    definition = user_models.hash_definition("mine")
    variables = {**os.environ, user_models.TEXTS_VARIABLE: user_models.encode_added()}
    variables.pop(user_models.VARIABLE, None)
    Path(path).unlink()
    script = (
        "from velodrome.adapters.models import MODELS, user_models\n"
        "print(MODELS['mine'].batch_size, user_models.hash_definition('mine'))\n"
        "print(user_models.find_file('mine'))"
    )
    found = subprocess.run(
        [sys.executable, "-c", script], env=variables, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert found == [f"7 {definition}", path]


def test_a_file_that_is_too_large_to_travel_is_refused(tmp_path: Path) -> None:
    noise = os.urandom(100_000).hex()
    user_models.add_models({}, write(tmp_path, HEAD + FUNCTIONS + f"# {noise}\n"))
    with pytest.raises(ModelFileError, match="too large to send to nodes"):
        user_models.encode_added()


def test_the_zoo_is_not_code() -> None:
    assert not any(is_code(model) for model in MODELS.values())
