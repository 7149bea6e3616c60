"""docs/workloads.md: its table of models and its numbers are those of the code."""

import re
from pathlib import Path

import pytest

from velodrome.adapters import tolerances
from velodrome.adapters.contract import LOSS_SCALE
from velodrome.adapters.models import MODELS
from velodrome.adapters.models.layers import Model
from velodrome.adapters.models.resnet import RESNET50, RESNET_TINY
from velodrome.adapters.models.transformers import TRANSFORMERS
from velodrome.adapters.optimizers import ADAMW, SGD
from velodrome.adapters.protocol import TIMED_PHASES
from velodrome.adapters.registry import FRAMEWORKS
from velodrome.scheduler.commands.catalogue import describe_model, format_count
from velodrome.scheduler.sweeps.sweep_file import load_sweep

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "workloads.md").read_text(encoding="utf-8")
LINES = re.findall(r"^\| `([\w-]+)` \|(.+)\|$", TEXT, re.MULTILINE)
TODAY = (RESNET50, RESNET_TINY, *TRANSFORMERS)


def cells_of(name: str) -> list[str]:
    """Return the cells of a line of a table, but for the first."""
    (rest,) = (rest for first, rest in LINES if first == name)
    return [cell.strip() for cell in rest.split("|")]


@pytest.mark.parametrize("model", TODAY, ids=lambda model: model.name)
def test_the_page_has_each_model_with_its_counts_and_batches(model: Model) -> None:
    row = describe_model(model)
    _, *counts = cells_of(model.name)
    assert counts == [
        format_count(row["parameters"]),
        format_count(row["macs"]),
        row["unit"],
        str(model.batch_size),
        str(model.gpu_batch_size),
    ]


def test_the_page_names_no_model_that_does_not_exist() -> None:
    others = {*tolerances.DTYPES, *FRAMEWORKS, *TIMED_PHASES}
    names = {name for name, _ in LINES} - others
    assert names == {model.name for model in TODAY}
    assert names < {*MODELS}


def test_the_page_has_each_precision_and_the_factor_of_the_loss() -> None:
    assert {name for name, _ in LINES} >= {*tolerances.DTYPES}
    assert f"the loss is multiplied by {LOSS_SCALE:g} before" in " ".join(TEXT.split())


def test_the_page_has_each_phase_in_order_and_the_constants_of_the_optimizers() -> None:
    named = [name for name, _ in LINES if name in TIMED_PHASES]
    assert named == [*TIMED_PHASES]
    page = " ".join(TEXT.split())
    assert f"`sgd` has learning rate {SGD.learning_rate:g} and momentum {SGD.momentum:g}" in page
    assert (
        f"`adamw` has learning rate {ADAMW.learning_rate:g}, betas {ADAMW.beta1:g} and "
        f"{ADAMW.beta2:g}, epsilon {ADAMW.epsilon:.0e}".replace("e-08", "e-8")
        + f" and a decoupled weight decay of {ADAMW.weight_decay:g} on every"
    ) in page


def test_the_sweep_of_the_page_runs_its_models_in_two_precisions() -> None:
    sweep = load_sweep(ROOT / "sweeps" / "today.yaml")
    assert {*sweep.models} < {model.name for model in TODAY}
    assert sweep.dtypes == ("float32", "bfloat16")
    assert "velodrome run sweeps/today.yaml" in TEXT
