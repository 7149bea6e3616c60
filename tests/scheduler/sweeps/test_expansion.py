"""Sweeps to cells: every combination once, less what is excluded."""

from dataclasses import replace
from math import prod

from hypothesis import given, settings
from hypothesis import strategies as st

from velodrome.adapters.registry import FRAMEWORKS
from velodrome.scheduler.sweeps.conditions import FieldCondition
from velodrome.scheduler.sweeps.expansion import CellSpec, count_cells, expand_cells, iterate_cells
from velodrome.scheduler.sweeps.sweep import (
    BatchSizeRule,
    Device,
    Entrant,
    Exclusion,
    Sweep,
    ThreadRule,
)
from velodrome.scheduler.sweeps.sweep_file import parse_sweep

MODELS = ("lenet", "alexnet", "lstm", "autoencoder-400-200-100/ae1")
DEVICES = (Device(), Device("gpu", 1), Device("gpu", 2), Device("gpu", 1, "H100"))
FIELDS = {
    "framework": ("torch", "tensorflow", "numpy"),
    "variant": ("eager", "compile", "graph"),
    "model": (*MODELS, "autoencoder-*", "autoencoder-400-200-100"),
    "batch_size": ("1", "8", "64", "auto"),
    "device": ("cpu", "gpu"),
    "gpu_model": ("H100",),
    "threads": ("1", "2", "physical"),
}

entrants = st.lists(
    st.builds(
        Entrant,
        framework=st.sampled_from(FIELDS["framework"]),
        variants=st.lists(
            st.sampled_from(FIELDS["variant"]), min_size=1, max_size=3, unique=True
        ).map(tuple),
        devices=st.just(("cpu", "gpu")),
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda entrant: entrant.framework,
).map(tuple)
exclusions = st.lists(
    st.dictionaries(st.sampled_from(list(FIELDS)), st.integers(0, 99), min_size=1, max_size=3).map(
        lambda chosen: Exclusion(
            "s.yaml:1:1",
            tuple(
                FieldCondition(name, (FIELDS[name][number % len(FIELDS[name])],))
                for name, number in chosen.items()
            ),
        )
    ),
    max_size=3,
).map(tuple)


def some(values: tuple[object, ...]) -> st.SearchStrategy[tuple[object, ...]]:
    return st.lists(st.sampled_from(values), min_size=1, max_size=len(values), unique=True).map(
        tuple
    )


sweeps = st.builds(
    Sweep,
    name=st.just("s"),
    entrants=entrants,
    models=some(MODELS),
    batch_sizes=st.dictionaries(st.sampled_from(MODELS), some((1, 8, 64, BatchSizeRule.AUTO))).map(
        lambda sizes: tuple(sizes.items())
    ),
    threads=some((1, 2, ThreadRule.PHYSICAL)),
    devices=some(DEVICES),
    exclusions=exclusions,
)


@given(sweeps)
@settings(deadline=None)
def test_without_exclusions_every_combination_is_there_exactly_once(sweep: Sweep) -> None:
    cells = expand_cells(replace(sweep, exclusions=()))
    sizes = dict(sweep.batch_sizes)
    expected = sum(len(sizes.get(model, (0,))) for model in sweep.models) * prod(
        [
            sum(len(entrant.variants) for entrant in sweep.entrants),
            len(sweep.threads),
            len(sweep.devices),
        ]
    )
    assert len(cells) == len(set(cells)) == expected == count_cells(sweep)


@given(sweeps)
@settings(deadline=None)
def test_an_exclusion_leaves_out_the_cells_that_fit_it_and_no_other(sweep: Sweep) -> None:
    kept = set(expand_cells(sweep))
    for cell in iterate_cells(sweep):
        excluded = any(
            all(_fits_by_hand(cell, condition) for condition in exclusion.conditions)
            for exclusion in sweep.exclusions
        )
        assert (cell not in kept) == excluded


def _fits_by_hand(cell: CellSpec, condition: FieldCondition) -> bool:
    (pattern,) = condition.patterns
    value = str(getattr(cell, condition.field))
    if pattern == "autoencoder-*":
        return value.startswith("autoencoder-")
    return value in (pattern, f"{pattern}/ae1")


@given(sweeps)
@settings(deadline=None, max_examples=25)
def test_the_order_is_the_same_every_time(sweep: Sweep) -> None:
    assert expand_cells(sweep) == expand_cells(replace(sweep))


def test_frameworks_that_are_compared_follow_one_another() -> None:
    sweep = parse_sweep(
        "frameworks: [torch, tensorflow]\nmodels: [lenet, lstm]", "s.yaml", FRAMEWORKS
    )
    assert [(cell.model, cell.framework) for cell in expand_cells(sweep)] == [
        ("lenet", "torch"),
        ("lenet", "tensorflow"),
        ("lstm", "torch"),
        ("lstm", "tensorflow"),
    ]


def test_a_model_runs_at_its_own_batch_size_of_the_device() -> None:
    text = "frameworks: [torch]\nmodels: [alexnet]\ndevices: [cpu, gpu]"
    cells = expand_cells(parse_sweep(text, "s.yaml", FRAMEWORKS))
    assert [(cell.device, cell.batch_size) for cell in cells] == [("cpu", 16), ("gpu", 256)]


def test_an_excluded_family_leaves_out_all_its_parts() -> None:
    text = (
        "frameworks: [torch, numpy]\nmodels: [lenet, autoencoder-400-200-100]\n"
        "exclude: [{framework: numpy, model: autoencoder-400-200-100}]"
    )
    cells = expand_cells(parse_sweep(text, "s.yaml", FRAMEWORKS))
    assert [cell.model for cell in cells if cell.framework == "numpy"] == ["lenet"]
    assert len([cell for cell in cells if cell.framework == "torch"]) == 5


def test_a_framework_without_a_path_for_a_device_keeps_its_cell() -> None:
    text = "frameworks: [numpy]\nmodels: [lenet]\ndevices: [gpu]"
    assert [cell.device for cell in expand_cells(parse_sweep(text, "s.yaml", FRAMEWORKS))] == [
        "gpu"
    ]


def test_each_cell_runs_in_each_precision_unless_excluded() -> None:
    text = (
        "frameworks: [torch, numpy]\nmodels: [lenet, lstm]\ndtypes: [float32, bfloat16]\n"
        "exclude: [{framework: numpy, dtype: bfloat16}]\nthreads: [1]\n"
    )
    sweep = parse_sweep(text, "s.yaml", FRAMEWORKS)
    cells = expand_cells(sweep)
    assert [(cell.framework, cell.model, cell.dtype) for cell in cells] == [
        ("torch", "lenet", "float32"),
        ("numpy", "lenet", "float32"),
        ("torch", "lstm", "float32"),
        ("numpy", "lstm", "float32"),
        ("torch", "lenet", "bfloat16"),
        ("torch", "lstm", "bfloat16"),
    ]
    assert count_cells(sweep) == 8
