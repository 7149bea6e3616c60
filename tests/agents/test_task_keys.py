"""Keys of tasks: what decides a number is in them, and stored results keep theirs."""

from dataclasses import replace

import pytest

from velodrome.adapters.models import MODELS
from velodrome.adapters.models.code_files import read_code_model
from velodrome.adapters.models.layers import NoLoss
from velodrome.adapters.protocol import LOADING_PHASES
from velodrome.agents.phases import (
    choose_optimizer,
    choose_phases,
    explain_missing,
    find_decisive,
    has_none,
)
from velodrome.agents.task import Task

TASK = Task("torch", "eager", "lenet", 64)


@pytest.mark.parametrize(
    ("task", "key"),
    [
        (TASK, "d1a9bb443c09d3b3"),
        (replace(TASK, model="lstm", dtype="bfloat16", lock_hash="a1b2"), "e530e06b16a39db1"),
    ],
)
def test_a_task_of_forward_and_gradient_has_the_key_of_stored_results(task: Task, key: str) -> None:
    assert task.key == key


def test_other_phases_and_another_optimizer_are_other_tasks() -> None:
    tasks = [
        TASK,
        replace(TASK, phases=("forward",)),
        replace(TASK, phases=("inference",)),
        replace(TASK, phases=("step",), optimizer="sgd"),
        replace(TASK, phases=("step",), optimizer="adamw"),
    ]
    assert len({task.key for task in tasks}) == len(tasks)


def test_phases_are_timed_in_their_own_order() -> None:
    assert choose_phases("lenet", ("step", "inference", "forward")) == (
        "forward",
        "inference",
        "step",
    )


@pytest.mark.parametrize("model", ["copy", "gemm", "gemm-1024", "canary"])
def test_a_model_that_describes_the_machine_keeps_its_phases(model: str) -> None:
    assert choose_phases(model, ("inference", "step")) == ("forward", "gradient")


@pytest.mark.parametrize(
    ("model", "wanted", "reason"),
    [
        ("lstm", ("load", "fed_gradient"), "lstm has no load or fed_gradient: its examples"),
        ("lstm", LOADING_PHASES, "lstm has no load, prefetched_load or fed_gradient: its"),
        ("code", ("inference",), "code has no inference: its file has no function inference"),
        ("code", ("step",), "code has no step: of the frameworks of code, torch alone"),
        ("code", ("load",), "code has no load: code draws its batches itself"),
        ("frozen", ("step",), "frozen has no step: it trains no parameter"),
        ("lossless", ("inference",), "lossless has no inference: it has no loss"),
    ],
)
def test_a_model_without_the_wanted_phases_is_timed_in_no_other(
    monkeypatch: pytest.MonkeyPatch, model: str, wanted: tuple[str, ...], reason: str
) -> None:
    lenet = MODELS["lenet"]
    layers = tuple(
        layer._replace(frozen=True) if hasattr(layer, "frozen") else layer for layer in lenet.layers
    )
    code = "FRAMEWORK = 'numpy'\n" + "".join(
        f"def {name}():\n    pass\n" for name in ("make", "batch", "forward", "gradient")
    )
    monkeypatch.setitem(MODELS, "code", read_code_model("code.py", code))
    monkeypatch.setitem(MODELS, "frozen", lenet._replace(name="frozen", layers=layers))
    monkeypatch.setitem(MODELS, "lossless", lenet._replace(name="lossless", loss=NoLoss()))
    assert choose_phases(model, wanted) == wanted
    assert has_none(model, wanted)
    assert explain_missing(model, wanted).startswith(reason)
    assert not has_none(model, ("forward", *wanted))
    assert explain_missing(model, ("forward", *wanted)) == explain_missing(model, wanted)


def test_only_update_and_step_have_an_optimizer() -> None:
    assert choose_optimizer(("forward", "step"), "") == "sgd"
    assert choose_optimizer(("update",), "adamw") == "adamw"
    assert choose_optimizer(("forward", "gradient", "inference"), "adamw") == ""


@pytest.mark.parametrize(
    ("timed", "decisive"),
    [
        (("forward", "gradient", "step"), "gradient"),
        (("forward", "inference", "update", "step"), "step"),
        (("forward", "inference", "update"), "update"),
        (("forward", "inference"), "inference"),
        (("forward",), "forward"),
        ((), ""),
    ],
)
def test_the_gradient_decides_and_else_the_last_phase(timed: tuple[str, ...], decisive) -> None:
    assert find_decisive(timed) == decisive
