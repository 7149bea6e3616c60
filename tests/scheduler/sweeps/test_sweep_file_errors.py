"""Errors in sweep files, and their places."""

import pytest

from velodrome.adapters.registry import FRAMEWORKS
from velodrome.scheduler.errors import ConfigError
from velodrome.scheduler.sweeps.sweep_file import parse_sweep

SHORTEST = "frameworks: [torch]\nmodels: [lenet]\n"


def complaint(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_sweep(text, "s.yaml", FRAMEWORKS)
    assert caught.value.exit_status == 2
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "frameworks: [torch]\nmodels: [lenett*]",
            "2:10: no model matches 'lenett*'. Did you mean",
        ),
        ('frameworks: ["x*"]\nmodels: [lenet]', "1:14: no framework matches 'x*'. "),
        (f"{SHORTEST}batch_sizes: {{lst*: [4]}}", "3:15: no model among `models` matches 'lst*'."),
        (
            f"{SHORTEST}variants: {{torch: [eagre*]}}",
            "3:20: no variant of torch matches 'eagre*'. Did",
        ),
        (
            "frameworks: [*]\nmodels: [lenet]",
            "1:15: a bare * is an alias, which is not supported. Wr",
        ),
    ],
)
def test_a_pattern_without_a_match_is_reported_with_its_place(text: str, message: str) -> None:
    assert complaint(text).startswith(f"s.yaml:{message}")


@pytest.mark.parametrize("name", ["torhc==2.12.1", "torch==", "torch==/etc", "torch=2.12.1"])
def test_an_unknown_framework_version_is_reported_with_its_place(name: str) -> None:
    message = complaint(f"frameworks: [{name}]\nmodels: [lenet]\n")
    assert message.startswith("s.yaml:1:14:") and f"'{name}'" in message


@pytest.mark.parametrize(
    ("text", "message"),
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
def test_unknown_and_missing_names_are_reported_with_their_place(text: str, message: str) -> None:
    assert complaint(text).startswith(f"s.yaml:{message}")


@pytest.mark.parametrize(
    ("line", "message"),
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
            "3:23: batch_sizes of lenet holds 'eight'. Give a whole number above 0, or `auto`.",
        ),
        (
            "batch_sizes: {lenet: [64, 0]}",
            "3:27: batch_sizes of lenet holds '0'. Give a whole number above 0, or `auto`.",
        ),
        ("batch_sizes: {lenet: [-1]}", "3:23: batch_sizes of lenet holds '-1'."),
        ("batch_sizes: {lenet: [1.5]}", "3:23: batch_sizes of lenet holds '1.5'."),
        ('batch_sizes: {lenet: ["8"]}', "3:23: batch_sizes of lenet holds '8'."),
        ("batch_sizes: {lenet: [3000000000]}", "3:23: batch_sizes of lenet holds '3000000000'."),
        ("batch_sizes: {lenet: 64}", "3:22: batch_sizes of lenet holds '64'. Give a list"),
        ("batch_sizes: {lstm: [4]}", "3:15: no such model among `models`: 'lstm'."),
        (
            "threads: [0]",
            "3:11: threads holds '0'. Give a whole number, 1 to 65536, `physical` or `logical`.",
        ),
        ("threads: [1, -2]", "3:14: threads holds '-2'."),
        (
            "threads: [fysical]",
            "3:11: threads holds 'fysical'. Give a whole number, 1 to 65536, `phy",
        ),
        ("threads: [true]", "3:11: threads holds 'true'."),
        ("devices: [cpu, gpu:0]", "3:16: devices holds 'gpu:0'. Give gpu:1 to gpu:64."),
        ("devices: [tpu]", "3:11: devices holds 'tpu'."),
        ("devices: [{gpu: 2}]", "3:17: '2' is not a GPU model. Write gpu:2 if you mean so many."),
        ("devices: [{cpu: 2}]", "3:12: no such key of a device 'cpu'. Did you mean 'gpu'?"),
        ("devices: [{count: 2}]", "3:11: devices holds a mapping without `gpu`."),
        ("dtypes: [float23]", "3:10: no such dtype 'float23'. Did you mean 'float32'?"),
        ("dtypes: [float32, bfloat61]", "3:19: no such dtype 'bfloat61'. Did you mean 'bfloat16'?"),
        (
            "dtypes: bfloat16",
            "3:9: dtypes holds 'bfloat16'. Give a list, like [float32, bfloat16].",
        ),
        ("exclude: [{dtype: tf32}]", "3:19: no cell of this sweep has the dtype 'tf32'"),
        ("where: each-typ", "3:8: no such rule 'each-typ'. Did you mean 'each-type'?"),
        ("exclusive: 1", "3:12: exclusive holds '1'. Give true or false."),
        ("repeats: 0", "3:10: repeats holds '0'. Give a whole number, 1 to 1000."),
        ("repeats: many", "3:10: repeats holds 'many'."),
        ("seed: -1", "3:7: seed holds '-1'. Give a whole number, 0 to 4294967295."),
        ("sampling_hz: 1000", "3:14: sampling_hz holds '1000'. Give a number, 0 to 100."),
        ("timing: {tarjet: 1%}", "3:10: no such key of timing 'tarjet'. Did you mean 'target'?"),
        ("timing: {target: 100%}", "3:18: target holds '100%'. Give a share above 0 and below 1,"),
        ("timing: {target: 1}", "3:18: target holds '1'."),
        ("timing: {min_samples: 0}", "3:23: min_samples holds '0'."),
        ("timing: {max_seconds: 0}", "3:23: max_seconds holds '0'. Give a number above 0, up"),
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
def test_a_wrong_value_is_reported_with_its_place_and_fix(line: str, message: str) -> None:
    assert complaint(SHORTEST + line).startswith(f"s.yaml:{message}")


@pytest.mark.parametrize(
    ("lines", "message"),
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
def test_an_exclusion_of_nothing_is_reported(lines: str, message: str) -> None:
    assert complaint(SHORTEST + lines).startswith(f"s.yaml:{message}")


def test_an_exclusion_whose_conditions_never_hold_together_is_reported() -> None:
    text = (
        "frameworks: [torch, tensorflow]\nmodels: [lenet]\n"
        "exclude:\n  - {framework: torch, variant: graph}\n"
    )
    assert complaint(text).startswith("s.yaml:4:5: this excludes no cell of the sweep.")


def test_a_sweep_of_millions_of_cells_is_refused_before_it_is_expanded() -> None:
    sizes = ", ".join(str(size) for size in range(1, 1501))
    threads = ", ".join(str(number) for number in range(1, 701))
    message = complaint(f"{SHORTEST}batch_sizes: {{lenet: [{sizes}]}}\nthreads: [{threads}]")
    assert message.startswith("s.yaml:1:1: this makes 1,050,000 cells, more than 1,000,000.")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "1:1: the file is empty. Start with `frameworks:`."),
        ("# nothing but a comment\n", "1:1: the file is empty."),
        ("- torch\n- lenet\n", "1:1: this is not a mapping. Give keys with values, like `k: v`."),
        ("torch", "1:1: this is not a mapping."),
        ("name: a\nname: b\n", "2:1: 'name' is a duplicate of line 1. Keep one."),
        (
            "timing: {target: 1%, target: 2%}",
            "1:22: 'target' is a duplicate of line 1.",
        ),
        (
            "a: 1\n---\nb: 2\n",
            "2:1: a second document starts here. One sweep a file: split it here.",
        ),
        ("frameworks: [torch\nmodels: [lenet]", "2:7: not YAML: "),
        ("name: x\n\tmodels: [lenet]", "2:1: not YAML: found character '\\t'"),
        ("name: a: b", "1:8: not YAML: mapping values are not allowed here."),
        ("name: &a x\nmodels: *a", "2:9: *a is an alias, which is not supported. Write the value"),
        ("name: !!python/object:os.system x", "1:7: the tag tag:yaml.org,2002:python/object:os."),
        ("name: !mine x", "1:7: the tag !mine is not supported. Remove it."),
        ("[a, b]: c", "1:1: a key is a list. Give a word."),
        ("name: a\x07b", "1:8: this character is not allowed. Remove it."),
    ],
)
def test_anything_but_a_plain_yaml_mapping_is_reported_with_its_place(
    text: str, message: str
) -> None:
    assert complaint(text).startswith(f"s.yaml:{message}")


def test_a_billion_laughs_are_refused_at_the_first_alias() -> None:
    levels = [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 10)]
    message = complaint("\n".join(['l0: &l0 ["lol"]', *levels]))
    assert message.startswith("s.yaml:2:10: *l0 is an alias")


def test_lists_nested_without_end_are_refused() -> None:
    assert complaint("name: " + "[" * 20_000).startswith(
        "s.yaml:1:23: lists within lists, too deep."
    )
