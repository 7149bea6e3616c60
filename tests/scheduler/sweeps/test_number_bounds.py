"""Numbers in files and on the command line: an error names the broken bound."""

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import get_type_hints

import pytest
import typer

from velodrome.adapters.protocol import Timing
from velodrome.agents.environments.store import EnvironmentStore
from velodrome.agents.node import Core, Node
from velodrome.agents.task import Limits
from velodrome.scheduler.cli import app, envs
from velodrome.scheduler.commands.compare import compare
from velodrome.scheduler.commands.envs import check_accelerator
from velodrome.scheduler.commands.history_estimates import parse_budget
from velodrome.scheduler.commands.measure_options import MeasureOptions, make_task
from velodrome.scheduler.commands.report import Form
from velodrome.scheduler.commands.target import parse_target
from velodrome.scheduler.errors import ConfigError
from velodrome.scheduler.fleet.cluster import check_address
from velodrome.scheduler.plans import declared_nodes
from velodrome.scheduler.results.sweep_ids import resolve_sweep_id
from velodrome.scheduler.sweeps.sweep_file import parse_sweep

# What Python takes for a number somewhere, and no bound is broken by.
NO_NUMBERS = (
    "nan",
    "NaN",
    "inf",
    "-inf",
    "Infinity",
    "1e30",
    "1e3",
    "\u0663",
    "\uff13",
    "1_000",
    "0x10",
    "\xb2",
)
HUGE = "9" * 5000  # more digits than Python's int() reads

# key: the line, a value that is too small, one that is too large, and the messages.
WHOLES = {
    "batch_sizes": ("batch_sizes: {lenet: [%s]}", "0", "above 0, or", "2147483647, or `auto`."),
    "threads": ("threads: [%s]", "-1", "1 to 65536, `p", "1 to 65536, `physical` or `logical`."),
    "repeats": ("repeats: %s", "0", "1 to 1000.", "1 to 1000."),
    "seed": ("seed: %s", "-1", "0 to 4294967295.", "0 to 4294967295."),
    "min_samples": ("timing: {min_samples: %s}", "0", "above 0.", "1 to 2147483647."),
    "count": ("devices: [{gpu: L4, count: %s}]", "0", "1 to 64.", "1 to 64."),
}
DECIMALS = {
    "sampling_hz": ("sampling_hz: %s", "-0.5", "0 to 100.", "0 to 100."),
    "min_seconds": ("timing: {min_seconds: %s}", "-1", "0 to 604800.", "0 to 604800."),
    "max_seconds": ("timing: {max_seconds: %s}", "0", "above 0", "up to 604800."),
    "target": ("timing: {target: %s}", "0", "above 0", "below 1,"),
}
IN_SWEEPS = {
    **WHOLES,
    **DECIMALS,
    "devices": ("devices: [gpu:%s]", "0", "gpu:1", "to gpu:64."),
    "deadline": ("limits: {deadline: %ss}", "0", "more than 0s", "at most 366d"),
    "memory": ("limits: {memory: %sMiB}", "0", "at least 1B", "at most 1024TiB"),
    "disk": ("limits: {disk: %sMiB}", "-5", "at least 1B", "at most 1024TiB"),
}
IN_CLUSTERS = {
    "CPU": ("resources: {CPU: %s}", "-1", "0 to 65536.", "0 to 65536."),
    "GPU": ("resources: {CPU: 1, GPU: %s}", "-1", "0 to 1024.", "0 to 1024."),
    "memory": ("resources: {memory: %s}", "-1", "0 to 9007199254740992.", "0 to 9007199254740992."),
    "max_workers": ("max_workers: %s", "-1", "0 to 1000000.", "0 to 1000000."),
}
ON_NODES = {
    "cores": ("cores: %s", "0", "1 to 65536.", "1 to 65536."),
    "threads": ("threads: %s", "0", "1 to 65536.", "1 to 65536."),
    "memory": ("memory: %sGiB", "0", "at least 1B", "at most 1024TiB"),
    "disk": ("disk: %sGiB", "0", "at least 1B", "at most 1024TiB"),
}
TYPED = {  # options of `measure`
    "batch-size": ("%s", "0", "above 0, or", "2147483647, or `auto`."),
    "threads": ("%s", "0", "1 to 65536", "1 to 65536"),
    "seed": ("%s", "-1", "0 to 4294967295.", "0 to 4294967295."),
    "sampling-hz": ("%s", "-1", "0 to 100.", "0 to 100."),
    "target": ("%s", "0", "above 0", "below 1,"),
    "min-samples": ("%s", "0", "above 0.", "1 to 2147483647."),
    "min-seconds": ("%s", "-1", "0 to 604800.", "0 to 604800."),
    "max-seconds": ("%s", "0", "above 0", "up to 604800."),
    "deadline": ("%ss", "0", "more than 0s", "at most 366d"),
    "memory": ("%sMiB", "0", "at least 1B", "at most 1024TiB"),
    "device": ("gpu:%s", "0", "gpu:1", "to gpu:64."),
}
NODE = Node("n1", "host1", "CPU", tuple(Core(core, (core,)) for core in range(8)), 2**34)
STORE = EnvironmentStore(Path("nowhere"))


def read_error(read, *words: object) -> str:
    with pytest.raises(ConfigError) as caught:
        read(*words)
    return str(caught.value)


def in_sweep(line: str) -> object:
    return parse_sweep(f"frameworks: [torch]\nmodels: [lenet]\n{line}\n", "s.yaml")


def in_cluster(line: str) -> object:
    kind = f"{{labels: {{velodrome: a}}, {line}}}"
    return declared_nodes.parse_types(
        f"head_node_type: a\navailable_node_types: {{a: {kind}}}\n", "c.yaml"
    )


def on_node(line: str) -> object:
    kind = "{a: {labels: {velodrome: a}, resources: {CPU: 4}}}"
    metadata = f"metadata: {{velodrome: {{a: {{{line}}}}}}}"
    return declared_nodes.parse_types(
        f"head_node_type: a\navailable_node_types: {kind}\n{metadata}", "c.yaml"
    )


def measured(option: str, value: str) -> object:
    measure = typer.main.get_command(app).commands["measure"]  # type: ignore[attr-defined]
    words = ["torch", "lenet", f"--{option}={value}"]
    given = measure.make_context("measure", words).params
    known = {field.name for field in fields(MeasureOptions)}
    options = {name: text for name, text in given.items() if name in known}
    return make_task(MeasureOptions(**options), NODE, STORE)


def every() -> Iterator[object]:
    for read, table in ((in_sweep, IN_SWEEPS), (in_cluster, IN_CLUSTERS), (on_node, ON_NODES)):
        for key, (line, *rest) in table.items():
            name = f"{read.__name__} {key}"
            yield pytest.param(lambda text, r=read, s=line: r(s % text), *rest, id=name)
    for option, (value, *rest) in TYPED.items():
        typed = option, value
        yield pytest.param(lambda text, t=typed: measured(t[0], t[1] % text), *rest, id=option)
    lengths = ("0", "more than 0s", "at most 366d")
    yield pytest.param(lambda text: parse_budget(f"{text}s"), *lengths, id="--budget")
    yield pytest.param(lambda text: parse_target("", None, f"{text}s"), *lengths, id="--patience")

    def least(text: str) -> object:
        return compare("last~1", "last", "nowhere", least=text, form=Form.CSV)

    yield pytest.param(least, "0", "above 0", "below 1,", id="--least")


CASES = tuple(every())


@pytest.mark.parametrize(("read", "little", "below", "above"), CASES)
def test_the_error_names_the_bound(read, little: str, below: str, above: str) -> None:
    assert below in read_error(read, little)
    assert above in read_error(read, "99999999999999999")
    assert above in read_error(read, HUGE)


@pytest.mark.parametrize("text", NO_NUMBERS)
@pytest.mark.parametrize(("read", "little", "below", "above"), CASES)
def test_numbers_must_be_plain_digits(read, little: str, below: str, above: str, text: str) -> None:
    assert " Give " in read_error(read, text)


def test_every_number_of_timing_and_limits_is_among_these() -> None:
    assert set(Timing._fields) <= IN_SWEEPS.keys()
    assert {name.rpartition("_")[0] for name in vars(Limits())} <= IN_SWEEPS.keys()


def test_no_option_of_any_command_is_read_by_other_rules() -> None:
    """Typer's own numbers take `nan`, `1_000` and the digits of every script."""
    found = [command.callback for command in (*app.registered_commands, *envs.registered_commands)]
    kinds = {
        f"{command.__name__} {name}": kind
        for command in found
        for name, kind in get_type_hints(command).items()
        if name != "return"
    }
    assert len(kinds) > 50
    assert {name for name, kind in kinds.items() if kind in (int, float)} == set()


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (check_accelerator, "cuda\u0661\u0663"),
        (lambda text: resolve_sweep_id(text, ["a", "b", "c", "d"], "results"), "last~\u0663"),
        (
            lambda text: parse_sweep(f"frameworks: [{text}]\nmodels: [lenet]", "s.yaml"),
            "torch==\u0662.12.1",
        ),
        (check_address, "localhost:\u0666\u0663\u0667\u0669"),
    ],
)
def test_digits_of_other_scripts_are_no_part_of_any_name(read, text: str) -> None:
    assert text in read_error(read, text)
