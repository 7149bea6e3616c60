"""The steps of a GPU check, in the order of their value."""

from collections.abc import Iterator, Sequence
from functools import partial

from velodrome.agents.task import Task
from velodrome.scheduler.gpu_check.energy_step import check_energy
from velodrome.scheduler.gpu_check.foreign_process import check_foreign_process, find_command
from velodrome.scheduler.gpu_check.gpu_tasks import Bench, check_task
from velodrome.scheduler.gpu_check.interpreters import FoundInterpreters
from velodrome.scheduler.gpu_check.machine_steps import check_inventory, check_with_doctor
from velodrome.scheduler.gpu_check.nvidia_smi import check_against_nvidia_smi
from velodrome.scheduler.gpu_check.options import CheckOptions
from velodrome.scheduler.gpu_check.sampling_cost import check_sampling_cost
from velodrome.scheduler.gpu_check.steps import CheckStep, StepOutcome, failed, skipped

# Seconds below which a step is not begun: a task starts a process, imports a framework and proves.
TASK_S = 8.0
LARGE_TASK_S = 20.0  # its float64 reference takes NumPy many seconds
LARGE = ("alexnet", "resnet50", "gpt2-1024", "llama-block-4096")
FIRST_MODELS = 2  # of each framework, before the steps about the driver's figures


def list_steps(bench: Bench, options: CheckOptions, found: FoundInterpreters) -> list[CheckStep]:
    """List all steps: the machine, a first task of each framework, the figures, other tasks."""
    tasks = list_tasks(options, [name for name in options.frameworks if name in found.pythons])
    early = FIRST_MODELS * len(found.pythons)
    steps = [
        CheckStep("inventory", lambda left_s: check_inventory(bench.node, bench.gpu), 1),
        CheckStep("doctor", lambda left_s: check_with_doctor(), 3),
        CheckStep("nvidia-smi", lambda left_s: check_against_nvidia_smi(bench.gpu), 2),
        *(
            CheckStep(name, partial(_tell_missing, reason), 0)
            for name, reason in found.missing.items()
        ),
        *(_make_task_step(bench, *names) for names in tasks[:early]),
    ]
    if tasks:
        steps += _list_figure_steps(bench, options, found, tasks[0])
    else:
        steps.append(CheckStep("tasks", lambda left_s: failed("no framework was found"), 0))
    return [*steps, *(_make_task_step(bench, *names) for names in tasks[early:])]


def list_tasks(options: CheckOptions, frameworks: Sequence[str]) -> list[tuple[str, str, str]]:
    """List (framework, model, dtype): all models in one dtype before the next dtype."""
    return [
        (framework, model, dtype)
        for dtype in options.dtypes
        for model in options.models
        for framework in frameworks
    ]


def _list_figure_steps(
    bench: Bench, options: CheckOptions, found: FoundInterpreters, first: tuple[str, str, str]
) -> Iterator[CheckStep]:
    """Yield the steps about energy, sampling and other processes, with the first framework."""
    framework, model, dtype = first
    command = options.foreign_command or find_command(framework, str(found.pythons[framework]))

    def small() -> Task:
        return bench.make_task(framework, model, dtype)

    def long() -> Task:
        return bench.make_task(framework, options.load_model, dtype, 2 * options.phase_s)

    yield CheckStep("energy", lambda left_s: check_energy(bench, long(), left_s), TASK_S)
    yield CheckStep(
        "foreign process",
        lambda left_s: check_foreign_process(bench, small(), command, left_s),
        2 * TASK_S,
    )
    yield CheckStep(
        "cost of sampling",
        lambda left_s: check_sampling_cost(bench, small(), options.pairs, left_s),
        2 * options.pairs * TASK_S,
    )


def _make_task_step(bench: Bench, framework: str, model: str, dtype: str) -> CheckStep:
    def run(left_s: float) -> StepOutcome:
        return check_task(bench, bench.make_task(framework, model, dtype), left_s)

    least_s = LARGE_TASK_S if model in LARGE else TASK_S
    return CheckStep(f"{framework} {model} {dtype}", run, least_s)


def _tell_missing(reason: str, left_s: float) -> StepOutcome:
    return skipped(reason)
