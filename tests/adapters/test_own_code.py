"""A user's code in NumPy, in this process: its batches, its reference, and its errors by line."""

from pathlib import Path

import numpy
import pytest

from velodrome.adapters.contract import Unsupported
from velodrome.adapters.frameworks.numpy.own_code import Adapter
from velodrome.adapters.models import user_models
from velodrome.adapters.own_code import inputs, loading
from velodrome.adapters.own_code.loading import CodeFailed, PackageMissing
from velodrome.adapters.own_code.reference import compute_code_reference
from velodrome.adapters.proof import reference, reference_file, seeding
from velodrome.adapters.proof.reference import Reference
from velodrome.adapters.worker.failures import classify_error

CODE = """import numpy

FRAMEWORK = "numpy"
NAME = "linear-code"


def make():
    return {"weight": numpy.random.standard_normal((2, 3)), "bias": numpy.zeros(2)}


def batch(size, draw):
    return {"x": draw.standard_normal((size, 3)), "y": draw.randint(0, 2, (size, 2))}


def forward(parameters, batch):
    off = batch["x"] @ parameters["weight"].T + parameters["bias"] - batch["y"]
    return (off * off).sum() / len(off)


def gradient(parameters, batch):
    off = batch["x"] @ parameters["weight"].T + parameters["bias"] - batch["y"]
    back = 2 * off / len(off)
    return (off * off).sum() / len(off), {"weight": back.T @ batch["x"], "bias": back.sum(axis=0)}
"""


INFERENCE = """

def inference(parameters, batch):
    return batch["x"] @ parameters["weight"].T + parameters["bias"]
"""


@pytest.fixture(autouse=True)
def _forgets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user_models, "_added", {})
    monkeypatch.setattr(loading, "_loaded", {})


def compute(
    folder: Path,
    text: str = CODE,
    dtype: str = "float32",
    phases: tuple[str, ...] = ("forward", "gradient"),
) -> Reference:
    path = folder / "mine.py"
    path.write_text(text)
    zoo: dict = {}
    user_models.add_models(zoo, str(path))
    (model,) = zoo.values()
    return compute_code_reference(
        Adapter(model, "float64", "cpu", 1, "float64"), model, 4, 0, dtype, phases=phases
    )


def test_a_reference_has_what_the_checks_need(tmp_path: Path) -> None:
    found = compute(tmp_path)
    assert found.shapes == {"weight": (2, 3), "bias": (2,)}
    assert found.checked == (0, 1)
    assert len(found.losses) == len(found.fresh.losses) == 2
    assert len({*found.losses, *found.fresh.losses}) == 4
    assert found.sketches["weight"].shape == (2, 6)
    assert found.changed.name == "bias"
    assert found.changed.loss != found.fresh.losses[0]
    assert 0 < found.predicted.gradients["weight"] < 1e-6
    assert found.predicted.shapes == found.shapes
    assert not len(found.evaluation.outputs)  # nobody asked for inference


def test_a_reference_is_stored_and_read_with_its_shapes(tmp_path: Path) -> None:
    found, path = compute(tmp_path), str(tmp_path / "reference.npz")
    reference_file.save_reference(path, found)
    stored = reference_file.load_reference(path)
    assert stored.predicted == found.predicted
    assert stored.shapes == found.shapes
    assert stored.losses == found.losses


def test_a_reference_of_inference_has_outputs_that_follow_a_parameter(tmp_path: Path) -> None:
    found, path = compute(tmp_path, CODE + INFERENCE, phases=("inference",)), tmp_path / "own.npz"
    evaluation = found.evaluation
    assert evaluation.outputs.shape == evaluation.fresh.shape == (2, 8)
    assert not numpy.isclose(evaluation.outputs, evaluation.fresh).any()
    assert not numpy.isclose(evaluation.changed, evaluation.fresh[0]).all()
    assert 0 < evaluation.predicted < 1e-6
    reference_file.save_reference(str(path), found)
    stored = reference_file.load_reference(str(path))
    assert (stored.evaluation.outputs == evaluation.outputs).all()


@pytest.mark.parametrize(
    ("returned", "reason"),
    [
        ("0.0", "mine.py:26: inference() returned the shape () for 4 examples"),
        ('batch["x"].T', "returned the shape (3, 4) for 4 examples. Return one array"),
        ('numpy.array(["a"] * 4)', "inference() returned an array of <U1"),
        ('batch["x"] / 0', "the output of inference() is not finite in float64"),
        ("batch.x", "mine.py:27: inference raised AttributeError"),
        ('batch["x"] + numpy.random.random()', "Turn random operations off in evaluation mode"),
    ],
)
def test_an_output_that_cannot_be_compared_is_refused(
    tmp_path: Path, returned: str, reason: str
) -> None:
    text = f"{CODE}\n\ndef inference(parameters, batch):\n    return {returned}\n"
    with pytest.raises((CodeFailed, Unsupported)) as caught, numpy.errstate(divide="ignore"):
        compute(tmp_path, text, phases=("inference",))
    assert reason in str(caught.value)


def test_a_reference_is_of_one_text_of_the_file(tmp_path: Path) -> None:
    found = compute(tmp_path)
    (added,) = user_models._added.values()
    assert reference.is_reference_of(found, added.model, 4, 0, "float32")
    user_models._added.clear()
    loading._loaded.clear()
    assert compute(tmp_path, CODE + "\n# more\n").digest != found.digest


def test_batches_are_records_that_any_seed_draws_again(tmp_path: Path) -> None:
    compute(tmp_path)
    (added,) = user_models._added.values()
    first, second = seeding.draw_batches(added.model, 4, 0)
    again, _ = seeding.draw_batches(added.model, 4, 0)
    assert first.inputs.shape == (4,)
    assert (first.inputs == again.inputs).all()
    assert not (first.inputs == second.inputs).all()
    arrays = inputs.split_arrays(first)
    assert (arrays["x"].dtype, arrays["x"].shape) == (numpy.float32, (4, 3))
    assert (arrays["y"].dtype, arrays["y"].shape) == (numpy.int64, (4, 2))


@pytest.mark.parametrize(
    ("before", "after", "status", "reason"),
    [
        (".sum() / len(off)\n\n", "\n\n", "crashed", "mine.py:15: the loss has the shape (4, 2)"),
        ("draw.standard_normal((size, 3))", "batch.x", "crashed", "mine.py:12: batch raised Attri"),
        ('"bias": back', '"bais": back', "crashed", "mine.py:20: there is a gradient of 'bais'"),
        (', "bias": back.sum(axis=0)', "", "crashed", "mine.py:20: there is no gradient of 'bias'"),
        (
            "}\n\n\ndef batch",
            "}, 1\n\n\ndef batch",
            "crashed",
            "mine.py:7: make() returned a tuple",
        ),
        ("(size, 2)", "(2, size)", "crashed", "Make its first axis that of the examples"),
        ('"y": draw', '"y": None and draw', "crashed", "batch() gave 'y' the type object"),
        (
            '    return {"x"',
            '    draw.seed(0)\n    return {"x"',
            "crashed",
            "the same values twice",
        ),
        ("(off * off).sum() / len(off), {", "(off * off).sum() / 0, {", "crashed", "in float64"),
        ("import numpy\n", "import nowhere\n", "environment_failed", "mine.py:1: it cannot import"),
        ("import numpy\n", "import numpy\n1 / 0\n", "crashed", "mine.py:2: it raised ZeroDivision"),
        (
            "FRAMEWORK",
            'REQUIREMENTS = ["numpy>=99"]\nFRAMEWORK',
            "environment_failed",
            "it needs numpy>=99, and the environment of numpy has",
        ),
        (
            "FRAMEWORK",
            'REQUIREMENTS = ["no-such-package"]\nFRAMEWORK',
            "environment_failed",
            "lacks it. Name an interpreter that has it: VELODROME_PYTHON_NUMPY=/path/to/python",
        ),
        (
            '- batch["y"]\n    return',
            '- batch["y"] + numpy.random.random()\n    return',
            "unsupported",
            "Turn dropout and other random operations off",
        ),
    ],
)
def test_an_error_names_file_line_and_mend(
    tmp_path: Path, before: str, after: str, status: str, reason: str
) -> None:
    assert before in CODE
    wrong = (CodeFailed, PackageMissing, Unsupported)
    with pytest.raises(wrong) as caught, numpy.errstate(divide="ignore"):
        compute(tmp_path, CODE.replace(before, after, 1))
    assert classify_error(caught.value) == status
    assert "mine.py" in str(caught.value)
    assert reason in str(caught.value)


def test_lack_of_memory_in_the_users_code_stays_lack_of_memory(tmp_path: Path) -> None:
    text = CODE.replace(
        '    return {"weight"',
        "    raise RuntimeError('CUDA out of memory')\n    return {\"weight\"",
    )
    with pytest.raises(CodeFailed) as caught:
        compute(tmp_path, text)
    assert classify_error(caught.value) == "out_of_memory"


def test_a_precision_whose_errors_cannot_be_predicted_is_unsupported(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="no way to predict the errors of bfloat16"):
        compute(tmp_path, dtype="bfloat16")
