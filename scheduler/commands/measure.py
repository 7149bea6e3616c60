"""Command `measure`: one task on this machine, without Ray."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.text import Text

from velodrome.adapters.models import MODELS
from velodrome.adapters.models.code_kinds import is_code
from velodrome.adapters.models.collectives import find_exchange
from velodrome.adapters.protocol import PASSED, Checked, ParameterError, Phase, Timed
from velodrome.agents.environments.frameworks import available_frameworks
from velodrome.agents.environments.store import EnvironmentStore, default_root
from velodrome.agents.execution import Note, execute
from velodrome.agents.inventory import take_inventory
from velodrome.agents.measurement import Measurement, Status
from velodrome.agents.node_types import NodeTypes
from velodrome.scheduler.commands.measure_options import MeasureOptions, make_task
from velodrome.scheduler.commands.output import console, print_json, print_lines
from velodrome.scheduler.commands.target import parse_target
from velodrome.scheduler.fleet.event_messages import describe_ended
from velodrome.scheduler.next_commands import example_command, format_command
from velodrome.scheduler.plans.expected_outcomes import TO_AGREE, ExpectedOutcome, load_expectations
from velodrome.scheduler.reports.ceilings_text import format_rate
from velodrome.scheduler.reports.cell_times import format_duration
from velodrome.scheduler.reports.proof import spell_out
from velodrome.scheduler.results.ceilings import RateUnit
from velodrome.scheduler.results.loading_columns import compute_hidden_share
from velodrome.scheduler.results.proof_columns import list_proved_checks
from velodrome.scheduler.results.store import Store, new_sweep_id
from velodrome.scheduler.results.task_row import task_row
from velodrome.scheduler.results.time_columns import find_tail
from velodrome.scheduler.standard_streams import ignore_output_errors


def measure(options: MeasureOptions, results: str | Path, *, as_json: bool) -> int:
    """Measure a task. Exit status 0 with a number, 1 with a reason, 4 without an environment."""
    ignore_output_errors()
    store = Store(results) if results else None
    prices = parse_target("", None, "", options.price).make_prices()
    typed = (store.types() if store else NodeTypes()).with_type_name(take_inventory())
    node = prices.with_price(typed)
    environments = EnvironmentStore(default_root())
    task = make_task(options, node, environments)
    expected = load_expectations(available_frameworks()).find(task)
    measurement = execute(
        task,
        node=node,
        repeat=0,
        attempt=1,
        environments=environments,
        on_event=(lambda event: None) if as_json else _print_event,
    )
    sweep_id = new_sweep_id()
    if store:
        store.put(sweep_id, measurement, expected)
        store.put_nodes(sweep_id, (node,))
    if as_json:
        print_json(task_row(sweep_id, measurement, expected))
    else:
        _print_result(measurement, expected, results)
    return _choose_status(measurement)


def _print_event(event: object) -> None:
    if isinstance(event, Note):
        print_lines(event.text)
    elif isinstance(event, Phase):
        console().print(Text(f"  {event.name}", style="dim"))
    elif isinstance(event, Timed):
        # One process does not show how processes vary: no interval.
        print_lines(
            f"  {event.phase}: {format_duration(event.median_ns)} in this process, "
            f"{event.samples} samples, stopped by {event.stop_reason}"
        )


def _print_result(measurement: Measurement, expected: ExpectedOutcome, results: str | Path) -> None:
    print_lines(describe_ended(measurement))
    if measurement.status is Status.UNSTABLE:
        print_lines(f"  not stable: {measurement.reason}")
    if expected is not TO_AGREE:
        print_lines(f"  expected: {expected.text}: {expected.reason}")
    print_lines(
        *_describe_latency(measurement),
        *_describe_loading(measurement),
        *_describe_bandwidth(measurement),
    )
    verified = measurement.verified
    if verified is not None and measurement.status is not Status.DISAGREED:
        mark, reference = "verified", "the float64 reference"
        if is_code(MODELS.get(measurement.task.model)):
            mark, reference = "against itself", "the same code in float64"
        print_lines(
            f"  {mark}: loss within {verified.loss_error:.1e}, "
            f"gradients within {verified.gradient_error:.1e} of {reference}",
            *_describe_tolerance(verified.parameters),
        )
        print_lines(*(f"  note: {note}" for note in measurement.notes))
    print_lines(*_describe_proof(measurement.checks))
    if measurement.interference:
        print_lines(f"  interference: {measurement.interference}")
    if measurement.minor_interference:
        print_lines(f"  minor interference: {measurement.minor_interference}")
    if _is_explained_by_log(measurement):
        print_lines(*(f"  | {line}" for line in measurement.log_tail.splitlines()[-12:]))
    following = (
        format_command("report", "--results", results) if results else example_command("run")
    )
    print_lines((f"kept in {results}; " if results else "") + f"next: {following}")


def _is_explained_by_log(measurement: Measurement) -> bool:
    """Return True if the worker's last lines tell more than the reason: not of a refusal."""
    explained = measurement.status.has_number or measurement.status is Status.UNSUPPORTED
    return bool(measurement.log_tail) and not explained


def _describe_latency(measurement: Measurement) -> Iterator[str]:
    """Yield a line with the percentiles of inference that its samples bear."""
    if timed := measurement.inference:
        found = {"p50": timed.median_ns, **find_tail(measurement, "inference")}
        known = [f"{name} {format_duration(ns)}" for name, ns in found.items() if ns is not None]
        yield f"  inference latency: {', '.join(known)}"


def _describe_loading(measurement: Measurement) -> Iterator[str]:
    """Yield a line with the share of a batch's load that its gradient hides."""
    medians = {phase: timed.median_ns for phase, timed in measurement.times.items()}
    if (share := compute_hidden_share(medians)) is not None:
        yield f"  loading: a gradient hides {share:.0%} of a batch's load"


def _describe_bandwidth(measurement: Measurement) -> Iterator[str]:
    """Yield a line with both bandwidths of a collective operation."""
    task, timed = measurement.task, measurement.times.get("forward")
    exchange = find_exchange(MODELS.get(task.model), task.batch_size)
    if exchange is not None and timed is not None and timed.median_ns > 0:
        seconds = timed.median_ns / 1e9
        yield (
            f"  {exchange.operation} of {exchange.size_bytes} bytes: "
            f"{format_rate(exchange.size_bytes / seconds, RateUnit.BYTES)} algorithm bandwidth, "
            f"{format_rate(exchange.bus_bytes / seconds, RateUnit.BYTES)} bus bandwidth"
        )


def _describe_tolerance(parameters: Sequence[ParameterError]) -> Iterator[str]:
    """Yield a line with the gradient that is nearest to its tolerance."""
    known = [entry for entry in parameters if entry.allowed]
    if known:
        worst = max(known, key=lambda entry: entry.error / entry.allowed)
        yield (
            f"  nearest to its tolerance: {worst.name}, {worst.error:.1e} of "
            f"{worst.allowed:.1e} allowed"
        )


def _describe_proof(checks: Sequence[Checked]) -> Iterator[str]:
    """Yield a line that lists the passed checks, and a line for each other check."""
    if names := list_proved_checks(checks):
        yield f"  proved: {', '.join(map(spell_out, names))}"
    for check in checks:
        if check.outcome != PASSED:
            why = f": {check.reason}" if check.reason else ""
            yield f"  {spell_out(check.outcome)}: {spell_out(check.name)}, {check.phase}{why}"


def _choose_status(measurement: Measurement) -> int:
    if measurement.status.has_number:
        return 0
    return 4 if measurement.status is Status.ENVIRONMENT_FAILED else 1
