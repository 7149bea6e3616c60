"""Tasks of the GPU check: each one measured like any other, kept as a row, and judged."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from velodrome.adapters.protocol import PASSED, Phase
from velodrome.agents.environments.frameworks import available_frameworks
from velodrome.agents.environments.store import EnvironmentStore
from velodrome.agents.execution import execute
from velodrome.agents.measurement import Measurement, Status
from velodrome.agents.node import Gpu, Node
from velodrome.agents.task import Task
from velodrome.scheduler.commands.measure_options import MeasureOptions, make_task
from velodrome.scheduler.gpu_check.options import BATCH_SIZES
from velodrome.scheduler.gpu_check.steps import Figures, StepOutcome, failed, passed, skipped
from velodrome.scheduler.plans.expected_outcomes import TO_AGREE, load_expectations
from velodrome.scheduler.reports.cell_times import format_duration
from velodrome.scheduler.results.proof_columns import list_proved_checks
from velodrome.scheduler.results.store import Store, new_sweep_id

TASK_LIMIT_S = 150.0
LOCKS_LIMIT_S = 20.0  # somebody else's task has the GPU: told at once, not waited for
TARGET = "5%"  # a check of the proof, not a benchmark
PHASES_S = 6.0  # the longest time of a phase, over its shortest


@dataclass(frozen=True)
class Bench:
    """The machine, its GPU that is checked, and the place for rows. repeats: of each task so far.

    environ: of the environments, with the interpreters that were found.
    """

    node: Node
    gpu: Gpu
    environ: Mapping[str, str]
    store: Store
    sweep_id: str
    phase_s: float
    repeats: dict[str, int]

    @classmethod
    def open(
        cls, node: Node, gpu: Gpu, environ: Mapping[str, str], store: Store, phase_s: float
    ) -> "Bench":
        """Begin a sweep of the check's rows. ConfigError if they cannot be written."""
        sweep_id = new_sweep_id()
        store.put_nodes(sweep_id, (node,))
        return cls(node, gpu, environ, store, sweep_id, phase_s, {})

    @property
    def environments(self) -> EnvironmentStore:
        return EnvironmentStore(environ=self.environ)

    def make_task(self, framework: str, model: str, dtype: str, phase_s: float = 0.0) -> Task:
        """Make a task for one GPU. phase_s: the shortest time of a phase; 0: the check's."""
        least_s = phase_s or self.phase_s
        options = MeasureOptions(
            framework=framework,
            model=model,
            variant="",
            batch_size=str(BATCH_SIZES.get(model) or ""),
            device="gpu",
            threads="1",
            seed="",
            target=TARGET,
            min_samples="",
            min_seconds=str(least_s),
            max_seconds=str(PHASES_S * least_s),
            deadline="",
            memory="",
            dtype=dtype,
        )
        return make_task(options, self.node, self.environments)

    def measure(
        self, task: Task, left_s: float, on_phase: Callable[[Phase], None] = lambda phase: None
    ) -> Measurement:
        """Measure a task on the checked GPU within left_s, and keep its row."""

        def note_phase(event: object) -> None:
            if isinstance(event, Phase):
                on_phase(event)

        limits = replace(task.limits, deadline_s=min(TASK_LIMIT_S, left_s))
        task = replace(task, limits=limits)
        repeat = self.repeats[task.key] = self.repeats.get(task.key, 0) + 1
        measurement = execute(
            task,
            node=self.node,
            repeat=repeat,
            attempt=1,
            environments=self.environments,
            on_event=note_phase,
            gpu_uuids=(self.gpu.uuid,),
            locks_deadline_s=LOCKS_LIMIT_S,
        )
        self.store.put(
            self.sweep_id, measurement, load_expectations(available_frameworks()).find(task)
        )
        return measurement


def check_task(bench: Bench, task: Task, left_s: float) -> StepOutcome:
    """Measure a task once; it passes with a number and without a failed check."""
    return judge_task(bench.measure(task, left_s))


def judge_task(measurement: Measurement) -> StepOutcome:
    """Judge a measurement: an expected refusal is skipped, any other end without a number fails."""
    figures = list_figures(measurement)
    if measurement.status.has_number:
        return passed(_describe(measurement), figures)
    expected = load_expectations(available_frameworks()).find(measurement.task)
    text = f"{measurement.status}: {measurement.reason}"
    if measurement.status is Status.UNSUPPORTED and expected is not TO_AGREE:
        return skipped(text, figures)
    tail = measurement.log_tail.splitlines()[-12:]
    return failed(text, {**figures, "log": tail, "rerun": measurement.rerun})


def list_figures(measurement: Measurement) -> Figures:
    """List what a row shows of a GPU. Times are medians in ns."""
    found: dict[str, object] = {
        f"{phase}_ns": timed.median_ns for phase, timed in measurement.times.items()
    }
    unproved = [
        f"{check.name} {check.phase}: {check.outcome} {check.reason}".strip()
        for check in measurement.checks
        if check.outcome != PASSED
    ]
    return {
        "status": str(measurement.status),
        "reason": measurement.reason,
        "framework_version": measurement.framework_version,
        "gpu": measurement.gpu_name,
        **found,
        "loss_error": measurement.loss_error,
        "gradient_error": measurement.gradient_error,
        "proved": list(list_proved_checks(measurement.checks)),
        "unproved": unproved,
        "first_call_ns": measurement.first_call_ns,
        "peak_gpu_memory_bytes": measurement.peak_gpu_memory_bytes,
        "peak_gpu_process_memory_bytes": measurement.peak_gpu_process_memory_bytes,
        "energy_j": measurement.energy_j,
        "energy_source": measurement.energy_source,
        "means": [vars(means) for means in measurement.means],
        "vendor_peak_flops_per_s": measurement.vendor_peak_flops_per_s,
        "interference": measurement.interference,
        "minor_interference": measurement.minor_interference,
        "notes": list(measurement.notes),
    }


def _describe(measurement: Measurement) -> str:
    times = [
        f"{phase} {format_duration(timed.median_ns)}" for phase, timed in measurement.times.items()
    ]
    proved = len(list_proved_checks(measurement.checks))
    names = {check.name for check in measurement.checks}
    error = measurement.gradient_error
    agreed = [] if error is None else [f"gradients within {error:.0e}"]
    return ", ".join([*times, *agreed, f"{proved} of {len(names)} checks passed"])
