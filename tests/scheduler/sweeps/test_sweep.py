"""Sweep files: what they mean, and what is said, and where, when they are wrong."""

import os
import pickle
from pathlib import Path

import pytest

from velodrome.adapters.models import MODELS
from velodrome.adapters.protocol import Timing
from velodrome.adapters.registry import FRAMEWORKS
from velodrome.agents.task import Limits
from velodrome.scheduler.errors import ConfigError
from velodrome.scheduler.sweeps.expansion import expand
from velodrome.scheduler.sweeps.parts import Device, Entrant, Sweep, ThreadRule, Where
from velodrome.scheduler.sweeps.sweep_file import load, parse

SWEEPS = Path(__file__).parents[3] / "sweeps"
SHORTEST = "frameworks: [torch]\nmodels: [lenet]\n"
PARTS = tuple(f"autoencoder-400-200-100/{part}" for part in ("ae1", "ae2", "ae3", "finetune"))


def read(text: str) -> Sweep:
    return parse(text, "s.yaml", FRAMEWORKS)


def complaint(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert caught.value.exit_status == 2
    return str(caught.value)


def test_the_shortest_sweep_has_the_defaults_of_the_format() -> None:
    assert read(SHORTEST) == Sweep(
        name="s",
        entrants=(Entrant("torch", ("eager",), ("cpu", "gpu")),),
        models=("lenet",),
        batch_sizes=(),
        threads=(ThreadRule.PHYSICAL,),
        devices=(Device("cpu"),),
        dtypes=("float32",),
        where=Where.ANY,
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
    assert (sweep.where, sweep.exclusive, sweep.repeats) == (Where.EACH_TYPE, False, 5)
    assert (sweep.seed, sweep.sampling_hz) == (7, 0.0)
    assert sweep.timing == Timing(target=0.02, min_samples=20, min_seconds=0.5, max_seconds=30.0)
    assert sweep.limits == Limits(deadline_s=7200.0, memory_bytes=16 * 2**30, disk_bytes=20 * 10**9)
    assert sweep.exclusions[0].place == "s.yaml:17:5"
    assert [c.patterns for c in sweep.exclusions[0].conditions] == [
        ("tensorflow",),
        ("lstm", "lenet"),
    ]
    assert sweep.labels == (("pool", "lab"), ("rack", "3"))


def test_what_is_named_twice_runs_once() -> None:
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


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("frameworks: [torch]\nmodels: [lenett*]", "2:10: no model fits 'lenett*'. Did you mean"),
        ('frameworks: ["x*"]\nmodels: [lenet]', "1:14: no framework fits 'x*'. "),
        (f"{SHORTEST}batch_sizes: {{lst*: [4]}}", "3:15: no model among `models` fits 'lst*'."),
        (
            f"{SHORTEST}variants: {{torch: [eagre*]}}",
            "3:20: no variant of torch fits 'eagre*'. Did",
        ),
        (
            "frameworks: [*]\nmodels: [lenet]",
            "1:15: a bare * is an alias, and they are not read. Wr",
        ),
    ],
)
def test_a_pattern_that_fits_nothing_is_told_with_its_place(text: str, said: str) -> None:
    assert complaint(text).startswith(f"s.yaml:{said}")


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
    assert load(path, FRAMEWORKS).name == path.stem


def test_a_framework_may_be_named_at_other_versions_with_the_same_variants() -> None:
    sweep = read(
        "frameworks: [torch==2.12.1, torch]\nvariants: {torch: [eager, compile]}\nmodels: [lenet]\n"
    )
    both = (("eager", "compile"), ("cpu", "gpu"))
    assert sweep.entrants == (Entrant("torch==2.12.1", *both), Entrant("torch", *both))
    assert {cell.framework for cell in expand(sweep)} == {"torch==2.12.1", "torch"}


@pytest.mark.parametrize("name", ["torhc==2.12.1", "torch==", "torch==/etc", "torch=2.12.1"])
def test_what_is_no_framework_at_a_version_is_told_with_its_place(name: str) -> None:
    said = complaint(f"frameworks: [{name}]\nmodels: [lenet]\n")
    assert said.startswith("s.yaml:1:14:") and f"'{name}'" in said


def test_the_papers_sweep_has_the_studys_frameworks_models_and_batch_sizes() -> None:
    sweep = load(SWEEPS / "paper.yaml", FRAMEWORKS)
    frameworks = {entrant.framework for entrant in sweep.entrants}
    assert frameworks == {"caffe", "neon", "tensorflow", "theano", "torch"}
    assert {"lenet", "alexnet", "alexnet-plain", "lstm", *PARTS} <= set(sweep.models)
    sizes = {(cell.model, cell.batch_size) for cell in expand(sweep)}
    assert {("lenet", 64), ("lstm", 16), *((part, 64) for part in PARTS)} <= sizes
    assert len({size for model, size in sizes if model == "alexnet-plain"}) >= 4


@pytest.mark.parametrize(
    ("name", "models"),
    [
        ("probes", {name for name in MODELS if name.startswith("probe-")}),
        ("all", {name for name in MODELS if not name.startswith(("probe-", "gemm", "copy"))}),
    ],
)
def test_the_sweeps_over_everything_leave_out_no_framework_and_no_model(
    name: str, models: set[str]
) -> None:
    cells = expand(load(SWEEPS / f"{name}.yaml", FRAMEWORKS))
    found = {(cell.framework, cell.model) for cell in cells}
    assert found == {(one, model) for one in FRAMEWORKS if one != "numpy" for model in models}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("framework: [torch]", "1:1: no such key 'framework'. Did you mean 'frameworks'?"),
        ("models: [lenet]", "1:1: there is no `frameworks`. Add frameworks: [torch, tensorflow]."),
        ("frameworks: [torch]", "1:1: there is no `models`. Add models: [lenet, lstm]."),
        (
            "frameworks: [troch]\nmodels: [lenet]",
            "1:14: no such framework 'troch'. Did you mean 'torch'?",
        ),
        (
            "frameworks: [torch]\nmodels:\n  - lenet\n  - alexnt",
            "4:5: no such model 'alexnt'. Did you mean 'alexnet'?",
        ),
        ("frameworks: torch\nmodels: [lenet]", "1:13: frameworks holds 'torch'. Give a list,"),
        ("frameworks: []\nmodels: [lenet]", "1:13: frameworks is an empty list. Give at least one"),
        ("frameworks:\nmodels: [lenet]", "1:12: frameworks holds nothing. Give a list,"),
        (
            "frameworks: [torch]\nmodels: [[lenet]]",
            "2:10: models holds a list. Give the name of a model.",
        ),
        ("frameworks: [torch]\nmodels: {lenet: 1}", "2:9: models holds a mapping. Give a list,"),
    ],
)
def test_unknown_and_missing_names_are_told_with_their_place(text: str, said: str) -> None:
    assert complaint(text).startswith(f"s.yaml:{said}")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("nmae: x", "3:1: no such key 'nmae'. Did you mean 'name'?"),
        ("name: [x]", "3:7: name holds a list. Give a word."),
        (
            "variants: {torch: [eagre]}",
            "3:20: no such variant of torch 'eagre'. Did you mean 'eager'?",
        ),
        ("variants: {tensorflow: [graph]}", "3:12: no such framework among `frameworks`: 'tens"),
        ("variants: [eager]", "3:11: variants holds a list. Give a mapping, like"),
        (
            "batch_sizes: {lenet: [eight]}",
            "3:23: batch_sizes of lenet holds 'eight'. Give a whole number above 0.",
        ),
        (
            "batch_sizes: {lenet: [64, 0]}",
            "3:27: batch_sizes of lenet holds '0'. Give a whole number above 0.",
        ),
        ("batch_sizes: {lenet: [-1]}", "3:23: batch_sizes of lenet holds '-1'."),
        ("batch_sizes: {lenet: [1.5]}", "3:23: batch_sizes of lenet holds '1.5'."),
        ('batch_sizes: {lenet: ["8"]}', "3:23: batch_sizes of lenet holds '8'."),
        ("batch_sizes: {lenet: [3000000000]}", "3:23: batch_sizes of lenet holds '3000000000'."),
        ("batch_sizes: {lenet: 64}", "3:22: batch_sizes of lenet holds '64'. Give a list"),
        ("batch_sizes: {lstm: [4]}", "3:15: no such model among `models`: 'lstm'."),
        (
            "threads: [0]",
            "3:11: threads holds '0'. Give a whole number above 0, `physical` or `logical`.",
        ),
        ("threads: [1, -2]", "3:14: threads holds '-2'."),
        ("threads: [fysical]", "3:11: threads holds 'fysical'. Give a whole number above 0, `phy"),
        ("threads: [true]", "3:11: threads holds 'true'."),
        ("devices: [cpu, gpu:0]", "3:16: devices holds 'gpu:0'. Give cpu, gpu, gpu:2 for two, or"),
        ("devices: [tpu]", "3:11: devices holds 'tpu'."),
        ("devices: [{gpu: 2}]", "3:17: '2' is no model of GPU. Write gpu:2 if you mean so many."),
        ("devices: [{cpu: 2}]", "3:12: no such key of a device 'cpu'. Did you mean 'gpu'?"),
        ("devices: [{count: 2}]", "3:11: devices holds a mapping without `gpu`."),
        ("dtypes: [float23]", "3:10: no such dtype 'float23'. Did you mean 'float32'?"),
        ("where: each-typ", "3:8: no such rule 'each-typ'. Did you mean 'each-type'?"),
        ("exclusive: 1", "3:12: exclusive holds '1'. Give true or false."),
        ("repeats: 0", "3:10: repeats holds '0'. Give a whole number, 1 to 1000."),
        ("repeats: many", "3:10: repeats holds 'many'."),
        ("seed: -1", "3:7: seed holds '-1'. Give a whole number, 0 to 4294967295."),
        ("sampling_hz: 1000", "3:14: sampling_hz holds '1000'. Give a rate up to 100."),
        ("timing: {tarjet: 1%}", "3:10: no such key of timing 'tarjet'. Did you mean 'target'?"),
        ("timing: {target: 100%}", "3:18: target holds '100%'. Give a share above 0 and below 1,"),
        ("timing: {target: 1}", "3:18: target holds '1'."),
        ("timing: {min_samples: 0}", "3:23: min_samples holds '0'."),
        ("timing: {max_seconds: 0}", "3:23: max_seconds holds '0'. Give a number above 0."),
        (
            "timing: {min_seconds: 9, max_seconds: 3}",
            "3:9: min_seconds 9 is over max_seconds 3. Give a smaller min_seconds.",
        ),
        ("timing: fast", "3:9: timing holds 'fast'. Give a mapping, like"),
        (
            "limits: {deadline: 15}",
            "3:20: deadline holds '15'. Give a number and its unit, like 90s, 15m or 2h.",
        ),
        ("limits: {deadline: 0s}", "3:20: deadline holds '0s'."),
        ("limits: {deadline: -5m}", "3:20: deadline holds '-5m'."),
        (
            "limits: {memory: 16 gigs}",
            "3:18: memory holds '16 gigs'. Give a number and its unit, like 512MB or 16GiB.",
        ),
        ("limits: {ram: 1GB}", "3:10: no such key of limits 'ram'."),
        ("labels: [lab]", "3:9: labels holds a list. Give a mapping, like {pool: lab}."),
        ("labels: {pool: [lab]}", "3:16: label pool holds a list."),
    ],
)
def test_a_wrong_value_is_told_with_its_place_and_the_mend(line: str, said: str) -> None:
    assert complaint(SHORTEST + line).startswith(f"s.yaml:{said}")


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (
            "exclude:\n  - {framwork: torch}",
            "4:6: no such field of a task 'framwork'. Did you mean 'framework'?",
        ),
        (
            "exclude:\n  - {framework: torhc}",
            "4:17: no cell of this sweep has the framework 'torhc'. Did you mean 'torch'?",
        ),
        (
            "exclude:\n  - {model: [lenet, alexnet]}",
            "4:13: no cell of this sweep has the model 'alexnet'.",
        ),
        ("exclude:\n  - {model: lenet}", "4:5: exclude leaves none of the 1 cells. Exclude less."),
        ("exclude:\n  - {}", "4:5: this excludes everything. Name a field:"),
        ("exclude: lenet", "3:10: exclude holds 'lenet'. Give a list,"),
        ("exclude: [lenet]", "3:11: exclude holds 'lenet'. Give a mapping, like"),
        ("exclude:\n  - {threads: two}", "4:15: no cell of this sweep has the threads 'two'."),
    ],
)
def test_an_exclusion_that_cannot_be_meant_is_told(lines: str, said: str) -> None:
    assert complaint(SHORTEST + lines).startswith(f"s.yaml:{said}")


def test_an_exclusion_whose_conditions_never_meet_is_told() -> None:
    text = (
        "frameworks: [torch, tensorflow]\nmodels: [lenet]\n"
        "exclude:\n  - {framework: torch, variant: graph}\n"
    )
    assert complaint(text).startswith("s.yaml:4:5: this excludes no cell of the sweep.")


def test_a_number_of_threads_that_only_a_node_can_give_may_be_excluded() -> None:
    assert len(read(f"{SHORTEST}exclude: [{{threads: 64}}]").exclusions) == 1


def test_a_sweep_of_millions_of_cells_is_refused_before_it_is_expanded() -> None:
    sizes = ", ".join(str(size) for size in range(1, 1501))
    threads = ", ".join(str(number) for number in range(1, 701))
    said = complaint(f"{SHORTEST}batch_sizes: {{lenet: [{sizes}]}}\nthreads: [{threads}]")
    assert said.startswith("s.yaml:1:1: this makes 1,050,000 cells, more than 1,000,000.")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "1:1: the file is empty. Start with `frameworks:`."),
        ("# nothing but a comment\n", "1:1: the file is empty."),
        ("- torch\n- lenet\n", "1:1: this is no mapping. Give keys with values, like `k: v`."),
        ("torch", "1:1: this is no mapping."),
        ("name: a\nname: b\n", "2:1: 'name' is here a second time, first in line 1. Keep one."),
        (
            "timing: {target: 1%, target: 2%}",
            "1:22: 'target' is here a second time, first in line 1.",
        ),
        ("a: 1\n---\nb: 2\n", "2:1: a second document begins. One sweep a file: split it here."),
        ("frameworks: [torch\nmodels: [lenet]", "2:7: not YAML: "),
        ("name: x\n\tmodels: [lenet]", "2:1: not YAML: found character '\\t'"),
        ("name: a: b", "1:8: not YAML: mapping values are not allowed here."),
        ("name: &a x\nmodels: *a", "2:9: *a is an alias, and they are not read. Write the value"),
        ("name: !!python/object:os.system x", "1:7: the tag tag:yaml.org,2002:python/object:os."),
        ("name: !mine x", "1:7: the tag !mine is not read. Remove it."),
        ("[a, b]: c", "1:1: a key is a list. Give a word."),
        ("name: a\x07b", "1:8: this character is not allowed. Remove it."),
    ],
)
def test_what_is_no_plain_yaml_mapping_is_told_with_its_place(text: str, said: str) -> None:
    assert complaint(text).startswith(f"s.yaml:{said}")


def test_a_billion_laughs_are_refused_at_the_first_alias() -> None:
    levels = [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 10)]
    said = complaint("\n".join(['l0: &l0 ["lol"]', *levels]))
    assert said.startswith("s.yaml:2:10: *l0 is an alias")


def test_lists_nested_without_end_are_refused() -> None:
    assert complaint("name: " + "[" * 20_000).startswith(
        "s.yaml:1:23: lists within lists, too deep."
    )


class TestLoading:
    """What can be wrong with a file before it is read."""

    def said_of(self, path: Path) -> str:
        with pytest.raises(ConfigError) as caught:
            load(path, FRAMEWORKS)
        return str(caught.value)

    def test_a_file_is_read_with_its_path_in_front_of_every_place(self, tmp_path: Path) -> None:
        path = tmp_path / "mine.yaml"
        path.write_text(f"{SHORTEST}oops: 1\n")
        assert self.said_of(path).startswith(f"{path}:3:1: no such key 'oops'.")

    def test_a_sweep_without_a_name_is_called_like_its_file(self, tmp_path: Path) -> None:
        path = tmp_path / "mine.yaml"
        path.write_text(SHORTEST)
        assert load(path, FRAMEWORKS).name == "mine"

    def test_a_byte_order_mark_is_no_part_of_the_first_key(self, tmp_path: Path) -> None:
        path = tmp_path / "windows.yaml"
        path.write_bytes(b"\xef\xbb\xbf" + SHORTEST.replace("\n", "\r\n").encode())
        assert load(path, FRAMEWORKS).models == ("lenet",)

    def test_a_file_that_does_not_exist(self, tmp_path: Path) -> None:
        path = tmp_path / "none.yaml"
        assert self.said_of(path) == f"{path}: there is no such file. Check the path."

    def test_a_folder(self, tmp_path: Path) -> None:
        assert self.said_of(tmp_path) == f"{tmp_path}: this is a folder. Name a file in it."

    def test_a_path_through_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        assert "cannot be read (Not a directory)" in self.said_of(tmp_path / "file" / "x.yaml")

    def test_a_pipe_that_nobody_writes_to_is_not_waited_for(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        assert "this is no regular file" in self.said_of(tmp_path / "pipe")

    def test_an_endless_device_is_not_read(self) -> None:
        assert "this is no regular file" in self.said_of(Path("/dev/zero"))

    def test_a_hundred_megabytes_are_not_read(self, tmp_path: Path) -> None:
        path = tmp_path / "large.yaml"
        with path.open("wb") as file:
            file.truncate(100_000_000)
        assert "the file is larger than 256 KiB" in self.said_of(path)

    def test_bytes_that_are_no_utf8_are_told_with_their_place(self, tmp_path: Path) -> None:
        path = tmp_path / "latin1.yaml"
        path.write_bytes("name: x\n# Größe".encode("latin-1"))
        assert self.said_of(path).startswith(f"{path}:2:5: byte 0xf6 is not UTF-8.")


def test_an_error_survives_the_way_from_another_process() -> None:
    error = ConfigError("s.yaml:1:1", "the file is empty", "Write something.")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
