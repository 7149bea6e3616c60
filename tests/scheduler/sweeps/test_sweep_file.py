"""Sweep files: what they mean."""

from pathlib import Path

import pytest

from velodrome.adapters.models import MODELS
from velodrome.adapters.protocol import Timing
from velodrome.adapters.registry import FRAMEWORKS
from velodrome.adapters.tolerances import DTYPES
from velodrome.agents.task import Limits
from velodrome.scheduler.sweeps.expansion import expand_cells
from velodrome.scheduler.sweeps.sweep import Device, Entrant, PlacementRule, Sweep, ThreadRule
from velodrome.scheduler.sweeps.sweep_file import load_sweep, parse_sweep

SWEEPS = Path(__file__).parents[3] / "sweeps"
SHORTEST = "frameworks: [torch]\nmodels: [lenet]\n"
PARTS = tuple(f"autoencoder-400-200-100/{part}" for part in ("ae1", "ae2", "ae3", "finetune"))


def read(text: str) -> Sweep:
    return parse_sweep(text, "s.yaml", FRAMEWORKS)


def test_the_shortest_sweep_has_the_defaults_of_the_format() -> None:
    assert read(SHORTEST) == Sweep(
        name="s",
        entrants=(Entrant("torch", ("eager",), ("cpu", "gpu")),),
        models=("lenet",),
        batch_sizes=(),
        threads=(ThreadRule.PHYSICAL,),
        devices=(Device("cpu"),),
        dtypes=("float32",),
        where=PlacementRule.ANY,
        exclusive=True,
        repeats=3,
        seed=0,
        sampling_hz=10.0,
        timing=Timing(),
        limits=Limits(deadline_s=900.0, memory_bytes=0),
        source="s.yaml",
        text=SHORTEST,
    )


def test_every_key_of_the_format_is_read() -> None:
    sweep = read(
        """\
name: paper
frameworks: [torch, tensorflow]
variants: {torch: [eager, compile]}
models: [lenet, autoencoder-400-200-100, lstm]
batch_sizes: {lenet: [64, 128], autoencoder-400-200-100: [32]}
threads: [1, physical, logical]
devices: [cpu, gpu, "gpu:2", {gpu: H100}, {gpu: A100, count: 4}]
dtypes: [float32]
where: each-type
exclusive: false
repeats: 5
seed: 7
sampling_hz: 0
timing: {target: 2%, min_samples: 20, min_seconds: 0.5, max_seconds: 30}
limits: {deadline: 2h, memory: 16GiB, disk: 20GB}
exclude:
  - {framework: tensorflow, model: [lstm, lenet]}
labels: {pool: lab, rack: "3"}
"""
    )
    assert sweep.name == "paper"
    assert [entrant.variants for entrant in sweep.entrants] == [("eager", "compile"), ("graph",)]
    assert sweep.models == ("lenet", *PARTS, "lstm")
    assert dict(sweep.batch_sizes) == {"lenet": (64, 128)} | dict.fromkeys(PARTS, (32,))
    assert sweep.threads == (1, ThreadRule.PHYSICAL, ThreadRule.LOGICAL)
    assert sweep.devices == (
        Device("cpu"),
        Device("gpu", 1),
        Device("gpu", 2),
        Device("gpu", 1, "H100"),
        Device("gpu", 4, "A100"),
    )
    assert (sweep.where, sweep.exclusive, sweep.repeats) == (PlacementRule.EACH_TYPE, False, 5)
    assert (sweep.seed, sweep.sampling_hz) == (7, 0.0)
    assert sweep.timing == Timing(target=0.02, min_samples=20, min_seconds=0.5, max_seconds=30.0)
    assert sweep.limits == Limits(deadline_s=7200.0, memory_bytes=16 * 2**30, disk_bytes=20 * 10**9)
    assert sweep.exclusions[0].place == "s.yaml:17:5"
    assert [c.patterns for c in sweep.exclusions[0].conditions] == [
        ("tensorflow",),
        ("lstm", "lenet"),
    ]
    assert sweep.labels == (("pool", "lab"), ("rack", "3"))


def test_a_name_that_is_given_twice_runs_once() -> None:
    sweep = read(
        f"frameworks: [torch, torch]\nmodels: [{PARTS[1]}, autoencoder-400-200-100]\n"
        "threads: [1, 1, physical, physical]\ndevices: [cpu, cpu]\n"
    )
    assert [entrant.framework for entrant in sweep.entrants] == ["torch"]
    assert sorted(sweep.models) == sorted(PARTS)
    assert sweep.threads == (1, ThreadRule.PHYSICAL)
    assert sweep.devices == (Device("cpu"),)


def test_a_pattern_stands_for_every_name_it_fits_in_the_order_of_the_zoo() -> None:
    sweep = read(
        'frameworks: ["t*"]\nmodels: [alex*, lenet]\nvariants: {torch: ["*"]}\n'
        'batch_sizes: {"alexnet*": [4], alexnet: [8]}\n'
    )
    names = [entrant.framework for entrant in sweep.entrants]
    assert names == [name for name in FRAMEWORKS if name.startswith("t")]
    assert sweep.entrants[names.index("torch")].variants == FRAMEWORKS["torch"].variants
    assert sweep.models == ("alexnet", "alexnet-plain", "lenet")
    assert dict(sweep.batch_sizes) == {"alexnet": (8,), "alexnet-plain": (4,)}


@pytest.mark.parametrize(("text", "share"), [("1%", 0.01), ("0.01", 0.01), ("12.5 %", 0.125)])
def test_a_target_is_a_percentage_or_a_share(text: str, share: float) -> None:
    assert read(f"{SHORTEST}timing: {{target: {text}}}").timing.target == pytest.approx(share)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("15m", 900), ("2h", 7200), ("1.5 h", 5400), ("1d", 86400)]
)
def test_a_deadline_is_a_number_and_a_unit(text: str, seconds: float) -> None:
    assert read(f"{SHORTEST}limits: {{deadline: {text}}}").limits.deadline_s == seconds


@pytest.mark.parametrize(
    ("text", "size"), [("16GiB", 2**34), ("512MB", 512_000_000), ("1.5 KiB", 1536), ("9kB", 9000)]
)
def test_a_memory_limit_is_a_number_and_a_unit(text: str, size: int) -> None:
    assert read(f"{SHORTEST}limits: {{memory: {text}}}").limits.memory_bytes == size


@pytest.mark.parametrize("path", sorted(SWEEPS.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_sweeps_that_come_with_velodrome_load(path: Path) -> None:
    assert load_sweep(path, FRAMEWORKS).name == path.stem


def test_a_framework_may_be_named_at_other_versions_with_the_same_variants() -> None:
    sweep = read(
        "frameworks: [torch==2.12.1, torch]\nvariants: {torch: [eager, compile]}\nmodels: [lenet]\n"
    )
    both = (("eager", "compile"), ("cpu", "gpu"))
    assert sweep.entrants == (Entrant("torch==2.12.1", *both), Entrant("torch", *both))
    assert {cell.framework for cell in expand_cells(sweep)} == {"torch==2.12.1", "torch"}


def test_the_papers_sweep_has_the_studys_frameworks_models_and_batch_sizes() -> None:
    sweep = load_sweep(SWEEPS / "paper.yaml", FRAMEWORKS)
    frameworks = {entrant.framework for entrant in sweep.entrants}
    assert frameworks == {"caffe", "neon", "tensorflow", "theano", "torch"}
    assert {"lenet", "alexnet", "alexnet-plain", "lstm", *PARTS} <= set(sweep.models)
    sizes = {(cell.model, cell.batch_size) for cell in expand_cells(sweep)}
    assert {("lenet", 64), ("lstm", 16), *((part, 64) for part in PARTS)} <= sizes
    assert len({size for model, size in sizes if model == "alexnet-plain"}) >= 4


def has_twin(name: str) -> bool:
    """Return True for a model, or one of its lengths, whose small twin stands for it."""
    base = name.rsplit("-", 1)[0]
    return not name.endswith("-tiny") and any(f"{one}-tiny" in MODELS for one in (name, base))


def test_each_model_of_today_has_a_small_twin() -> None:
    assert {name for name in MODELS if has_twin(name)} == {
        "resnet50",
        "vit-b16",
        "bert-base",
        "gpt2-128",
        "gpt2-1024",
        "llama-block-128",
        "llama-block-4096",
    }


@pytest.mark.parametrize(
    ("name", "models"),
    [
        ("probes", {name for name in MODELS if name.startswith("probe-")}),
        (
            "all",
            {
                name
                for name in MODELS
                if not name.startswith(("probe-", "gemm", "copy", "canary"))
                and not has_twin(name)
                and not MODELS[name].has_row_per_device
                and (not name.endswith("-tiny") or name == "gpt2-tiny")
            },
        ),
    ],
)
def test_the_sweeps_over_everything_leave_out_no_framework_and_no_model(
    name: str, models: set[str]
) -> None:
    cells = expand_cells(load_sweep(SWEEPS / f"{name}.yaml", FRAMEWORKS))
    found = {(cell.framework, cell.model) for cell in cells}
    compiles_for_long = ("theano", "pytensor", "pytensor3")
    assert found == {
        (one, model)
        for one in FRAMEWORKS
        for model in models
        if one != "numpy" and not (one in compiles_for_long and model.endswith("-tiny"))
    }


def test_a_number_of_threads_that_only_a_node_can_give_may_be_excluded() -> None:
    assert len(read(f"{SHORTEST}exclude: [{{threads: 64}}]").exclusions) == 1


def test_dtypes_are_kept_in_the_order_of_the_file_and_float32_is_the_default() -> None:
    sweep = read(f"{SHORTEST}dtypes: [bfloat16, float32, tf32, float16, float32]\n")
    assert sweep.dtypes == ("bfloat16", "float32", "tf32", "float16")
    assert read(SHORTEST).dtypes == ("float32",)
    assert read(f"{SHORTEST}dtypes: ['*']\n").dtypes == DTYPES
