"""The command that stands beside a failed cell: typed again, it is the same task."""

import shlex
from dataclasses import fields, replace
from pathlib import Path

import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st

from velodrome.adapters.protocol import Timing
from velodrome.agents.environments.store import EnvironmentStore
from velodrome.agents.node import Core, Node
from velodrome.agents.rerun_command import rerun_command
from velodrome.agents.task import AUTO, Limits, Task
from velodrome.scheduler.cli import app
from velodrome.scheduler.commands.measure_options import MeasureOptions, make_task
from velodrome.scheduler.errors import ConfigError

NODE = Node("n1", "host1", "CPU", tuple(Core(core, (core,)) for core in range(8)), 2**34)
STORE = EnvironmentStore(Path("nowhere"))
TASK = Task("torch", "eager", "lenet", 64, lock_hash=STORE.lock_hash("torch", "cpu"))
ON_GPU = replace(TASK, device="gpu", gpu_count=1, lock_hash=STORE.lock_hash("torch", "gpu"))


def typed(command: str) -> Task:
    """Parse the command line without measuring anything."""
    words = shlex.split(command)
    assert words[:2] == ["velodrome", "measure"]
    measure = typer.main.get_command(app).commands["measure"]  # type: ignore[attr-defined]
    given_words = measure.make_context("measure", words[2:]).params
    known = {field.name for field in fields(MeasureOptions)}
    options = {name: value for name, value in given_words.items() if name in known}
    return make_task(MeasureOptions(**options), NODE, STORE)


@pytest.mark.parametrize(
    "task",
    [
        TASK,
        ON_GPU,
        replace(ON_GPU, gpu_count=4, gpu_model="H100 80GB"),
        replace(TASK, variant="compile", batch_size=7, threads=3, seed=2**32 - 1),
        replace(TASK, dtype="bfloat16"),
        replace(TASK, processes=2, threads=3),
        replace(TASK, batch_size=0, batch_size_rule=AUTO),
        replace(ON_GPU, dtype="tf32"),
        replace(TASK, phases=("forward",)),
        replace(TASK, phases=("inference", "update", "step"), optimizer="sgd"),
        replace(TASK, phases=("forward", "gradient", "step"), optimizer="adamw"),
        replace(TASK, sampling_hz=0.0),
        replace(TASK, sampling_hz=12.5, exclusive=False),
        replace(TASK, limits=Limits(7200.5, 3 * 2**30 + 1)),
        replace(TASK, timing=Timing(12.3456789 / 100, 3, 0.0, 0.000001)),
    ],
)
def test_the_command_makes_the_same_task_again(task: Task) -> None:
    again = typed(rerun_command(task))
    assert again == task
    assert again.key == task.key


@given(
    st.floats(1e-9, 0.999),
    st.integers(1, 10**6),
    st.floats(0, 1e3, allow_subnormal=False).filter(lambda s: s == 0 or s > 1e-6),
)
@settings(deadline=None, max_examples=30)
def test_a_number_is_read_back_unchanged(target: float, samples: int, seconds: float) -> None:
    task = replace(TASK, timing=Timing(target, samples, seconds, seconds + 1))
    assert typed(rerun_command(task)).key == task.key


def test_less_than_the_default_minimum_time_needs_no_second_option() -> None:
    timing = typed("velodrome measure torch lenet --threads 1 --max-seconds 0.5").timing
    assert (timing.min_seconds, timing.max_seconds) == (0.5, 0.5)


def test_a_gpu_name_with_blanks_is_quoted() -> None:
    assert "--gpu-model 'H100 80GB'" in rerun_command(replace(ON_GPU, gpu_model="H100 80GB"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--device tpu", "--device: there is no 'tpu'. Give cpu, cpu:2, gpu or gpu:2."),
        ("--gpu-model H100", "--gpu-model: the task is for a CPU. Give --device gpu."),
        ("--dtype float23", "--dtype: there is no 'float23'. Did you mean 'float32'?"),
        ("--phases forward,stp", "--phases: there is no 'stp'. Did you mean 'step'?"),
        ("--phase step --optimizer adm", "--optimizer: there is no 'adm'. Did you mean 'adamw'?"),
        (
            "--device cpu:3",
            "--batch-size: a batch of 64 cannot be shared equally among 3 devices. "
            "Give a multiple of 3.",
        ),
        (
            "--device cpu:2 --batch-size auto",
            "--batch-size: `auto` finds a batch size for one device, not for 2. Give",
        ),
        ("--device cpu:65", "--device: 'cpu:65' is invalid. Give cpu:1 to cpu:64."),
        ("--device cpu:16", "--threads: 16 x 1 threads do not fit. This machine has 8 cores."),
        ("--dtype tf32", "--dtype: no CPU computes in tf32. Give another, or --device gpu."),
        (
            "--min-seconds 2 --max-seconds 1",
            "--max-seconds: min_seconds 2 is over max_seconds 1. Give a smaller --min-seconds.",
        ),
    ],
)
def test_a_wrong_option_is_reported_with_the_remedy(options: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        typed(f"velodrome measure torch lenet --threads 1 {options}")
    assert message in str(caught.value)


def test_the_cores_of_the_machine_are_divided_among_the_processes() -> None:
    found = typed("velodrome measure torch lenet --device cpu:2")
    assert (found.processes, found.threads, found.total_threads) == (2, 4, 8)
    assert typed("velodrome measure torch lenet --device cpu:2 --threads 1").threads == 1
