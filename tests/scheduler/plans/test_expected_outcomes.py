"""Expectations: a task agrees, unless a file beside the adapter gives a reason why not."""

from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from velodrome.adapters.models import MODELS, list_families
from velodrome.adapters.registry import FRAMEWORKS, Framework
from velodrome.adapters.tolerances import DTYPES
from velodrome.agents.measurement import Status
from velodrome.agents.task import Task
from velodrome.scheduler.errors import ConfigError
from velodrome.scheduler.plans.expected_outcomes import (
    FILE_NAME,
    TO_AGREE,
    load_expectations,
    read_rules,
)
from velodrome.scheduler.sweeps.device_support import DEVICES
from velodrome.scheduler.sweeps.settings import MOST_GPUS

TASK = Task("mine", "plain", "lenet", 64)


def framework(folder: Path, text: str | None = None) -> Framework:
    if text is not None:
        (folder / FILE_NAME).write_text(text)
    return Framework("mine", "mine", ("plain", "fast"), ("cpu",), "adapter", str(folder))


def expected(folder: Path, text: str, task: Task = TASK, **environ: str) -> tuple[str, ...]:
    return load_expectations({"mine": framework(folder, text)}, environ).find(task).outcomes


def test_tasks_are_expected_to_agree_by_default(tmp_path: Path) -> None:
    assert load_expectations({"mine": framework(tmp_path)}, {}).find(TASK) is TO_AGREE
    assert TO_AGREE.is_met_by(Status.OK)
    assert TO_AGREE.is_met_by(Status.UNSTABLE)
    assert not any(TO_AGREE.is_met_by(one) for one in Status if not one.has_number)


def test_an_entry_may_hold_for_some_phases_and_optimizers(tmp_path: Path) -> None:
    text = """
        [[expected]]
        status = "unsupported"
        phase = ["update", "step"]
        optimizer = "adamw"
        reason = "it has SGD alone"
    """
    step = replace(TASK, phases=("forward", "step"), optimizer="adamw")
    assert expected(tmp_path, text, step) == ("unsupported",)
    assert expected(tmp_path, text, replace(step, optimizer="sgd")) == ("agreed",)
    assert expected(tmp_path, text, replace(TASK, phases=("inference",))) == ("agreed",)
    assert expected(tmp_path, text) == ("agreed",)


def test_an_entry_for_a_phase_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    text = '[[expected]]\nstatus = "unsupported"\nphase = "setp"\nreason = "none"\n'
    with pytest.raises(ConfigError, match=r"there is no phase 'setp'\. Did you mean 'step'"):
        expected(tmp_path, text)


def test_the_first_entry_that_fits_holds(tmp_path: Path) -> None:
    text = """
        [[expected]]
        status = "timed_out"
        model = "alexnet*"
        variant = ["fast", "faster"]
        batch_size = 256
        reason = "an hour a call"
        [[expected]]
        status = ["unsupported", "agreed"]
        model = ["alexnet", "autoencoder-400-200-100"]
        reason = "it depends on the machine"
    """
    large = replace(TASK, model="alexnet", variant="fast", batch_size=256)
    assert expected(tmp_path, text, large) == ("timed_out",)
    assert expected(tmp_path, text, replace(large, batch_size=16)) == ("unsupported", "agreed")
    part = replace(TASK, model="autoencoder-400-200-100/ae1")
    assert expected(tmp_path, text, part) == ("unsupported", "agreed")
    assert expected(tmp_path, text, replace(large, model="alexnet-plain")) == ("timed_out",)
    assert expected(tmp_path, text) == ("agreed",)


def test_of_several_outcomes_any_will_do(tmp_path: Path) -> None:
    text = '[[expected]]\nstatus = ["unsupported", "agreed"]\nreason = "by the BLAS"\n'
    found = load_expectations({"mine": framework(tmp_path, text)}, {}).find(TASK)
    assert found.text == "unsupported or agreed"
    met = [status.value for status in Status if found.is_met_by(status)]
    assert met == ["ok", "unstable", "unsupported"]


def test_an_entry_may_hold_only_while_variables_are_not_set(tmp_path: Path) -> None:
    text = (
        '[[expected]]\nstatus = "environment_failed"\nreason = "no registry has it"\n'
        'unset = ["MINE_SOURCE", "MINE_PYTHON"]\n'
    )
    assert expected(tmp_path, text) == ("environment_failed",)
    assert expected(tmp_path, text, MINE_SOURCE="") == ("environment_failed",)
    assert expected(tmp_path, text, MINE_PYTHON="/usr/bin/python3") == ("agreed",)


def test_a_device_that_a_framework_has_no_path_for_is_expected_to_be_unsupported(
    tmp_path: Path,
) -> None:
    found = load_expectations({"mine": framework(tmp_path)}, {}).find(replace(TASK, device="gpu"))
    assert (found.outcomes, found.reason) == (("unsupported",), "it has no gpu path")


def test_tf32_on_a_cpu_is_expected_to_be_unsupported(tmp_path: Path) -> None:
    found = load_expectations({"mine": framework(tmp_path)}, {}).find(replace(TASK, dtype="tf32"))
    assert (found.outcomes, found.reason) == (("unsupported",), "no CPU computes in tf32")


@pytest.mark.parametrize(("dtype", "outcome"), [("float32", "agreed"), ("bfloat16", "unsupported")])
def test_the_reference_itself_is_expected_to_have_no_lower_precision(
    dtype: str, outcome: str
) -> None:
    task = replace(TASK, framework="numpy", variant="float64", dtype=dtype)
    assert load_expectations(FRAMEWORKS, {}).find(task).outcomes == (outcome,)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[expected]", ": cannot be read ("),
        ("[expects]", ".expects: no such key. Did you mean 'expected'?"),
        ("expected = 1", ":expected: not a list of entries. Write [[expected]]."),
        ("[[expected]]", ":expected.0.status: status is missing or not a text."),
        (
            "[[expected]]\nstatus = 'unsuported'",
            ":expected.0.status: there is no outcome 'unsuported'. Did you mean 'unsupported'?",
        ),
        ("[[expected]]\nstatus = 'ok'", ":expected.0.status: there is no outcome 'ok'."),
        ("[[expected]]\nstatus = 'agreed'", ":expected.0.reason: reason is missing or not a text."),
        (
            "[[expected]]\nstatus = 'crashed'\nreason = 'x'\nmodle = 'lenet'",
            ":expected.0.modle: no such key. Did you mean 'model'?",
        ),
        (
            "[[expected]]\nstatus = 'crashed'\nreason = 'x'\nmodel = []",
            ":expected.0.model: model is missing or not a text.",
        ),
    ],
)
def test_an_error_in_the_file_names_its_place(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_expectations({"mine": framework(tmp_path, text)}, {})
    assert str(caught.value).startswith(f"{tmp_path / FILE_NAME}{message}")


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_shipped_expectations_name_existing_models_and_variants(name: str) -> None:
    known = {
        "model": (*MODELS, *list_families()),
        "variant": FRAMEWORKS[name].variants,
        "device": DEVICES,
        "dtype": DTYPES,
        "processes": [str(number) for number in range(1, MOST_GPUS + 1)],
        "nodes": [str(number) for number in range(1, 100)],
    }
    for rule in read_rules(Path(FRAMEWORKS[name].folder) / FILE_NAME):
        for condition in rule.conditions:
            for pattern in condition.patterns:
                there = known.get(condition.field, (pattern,))
                assert any(fnmatchcase(one, pattern) for one in there), (name, pattern)
