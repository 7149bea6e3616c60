"""Conversion of a worker's events to the fields of a measurement."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

from velodrome.adapters.protocol import (
    Built,
    Checked,
    Failed,
    Finished,
    FirstCall,
    Hello,
    Imported,
    ParameterError,
    Phase,
    Sampled,
    Timed,
    Verified,
)
from velodrome.agents.measurement import Measurement, Sample
from velodrome.agents.safe_text import sanitize_line

Event = TypeVar("Event")

# Limits of length and number; the rest is in the worker's log.
VERSION_LENGTH = 100
NAME_LENGTH = 200
NOTE_LENGTH = 500
MOST_NOTES = 100
MOST_FIGURES = 20  # of one check


def add_events(measurement: Measurement, events: Sequence[object]) -> Measurement:
    """Add the events' fields to a measurement. Fields not reached stay None.

    first_call_ns: of all phases together. After a disagreement the errors are those of `failed`.
    """
    imported = last(events, Imported)
    built = last(events, Built)
    verified = last(events, Verified)
    finished = last(events, Finished)
    timed = {event.phase: event for event in _all(_proven(events), Timed)}
    first_calls = [event.elapsed_ns for event in _all(events, FirstCall)]
    parameters = _parameters(events)
    return replace(
        measurement,
        framework_version=sanitize_line(imported.framework_version, VERSION_LENGTH)
        if imported
        else "",
        import_ns=imported.import_ns if imported else None,
        build_ns=built.build_ns if built else None,
        transfer_ns=built.transfer_ns if built else None,
        first_call_ns=sum(first_calls) if first_calls else None,
        forward=timed.get("forward"),
        gradient=timed.get("gradient"),
        inference=timed.get("inference"),
        update=timed.get("update"),
        step=timed.get("step"),
        load=timed.get("load"),
        prefetched_load=timed.get("prefetched_load"),
        fed_gradient=timed.get("fed_gradient"),
        verified=verified,
        checks=tuple(_checks(events)),
        loss_error=_loss_error(events),
        gradient_error=max((entry.error for entry in parameters), default=None),
        parameters=parameters,
        samples=tuple(_samples(events)),
        peak_gpu_memory_bytes=(finished.peak_gpu_memory_bytes or None) if finished else None,
        kernels=_kernels(imported, finished),
        notes=(*(_notes(verified) if verified else ()), *_warmup_notes(timed.values())),
    )


def _proven(events: Sequence[object]) -> Sequence[object]:
    """Return events after the proof: an unproven time does not count."""
    places = [place for place, event in enumerate(events) if isinstance(event, Verified)]
    return events[places[0] :] if places else ()


def _notes(verified: Verified) -> tuple[str, ...]:
    return tuple(sanitize_line(note, NOTE_LENGTH) for note in verified.notes[:MOST_NOTES])


def _kernels(imported: Imported | None, finished: Finished | None) -> tuple[str, ...]:
    """Return the kernels at the end, or at the import if the worker did not finish."""
    names = (finished.kernels if finished else ()) or (imported.kernels if imported else ())
    return tuple(sanitize_line(name, VERSION_LENGTH) for name in names[:MOST_NOTES])


def _warmup_notes(timed: Iterable[Timed]) -> Iterator[str]:
    """Note warm-ups that reached their time limit: timed calls may have become faster."""
    for event in timed:
        if not event.settled:
            yield f"the speed of {event.phase} had not converged at the end of its warm-up"


def phases(events: Sequence[object]) -> tuple[Phase, ...]:
    """List the phases that have begun."""
    return tuple(_all(events, Phase))


def phase_reached(events: Sequence[object]) -> str:
    """Describe the phase that had begun last."""
    reached = last(events, Phase)
    if reached:
        return f"in phase {reached.name}"
    return "before its first phase" if last(events, Hello) else "before its interpreter ran"


def last(events: Sequence[object], kind: type[Event]) -> Event | None:
    """Return the last event of a kind."""
    return next((event for event in reversed(events) if isinstance(event, kind)), None)


def _all(events: Sequence[object], kind: type[Event]) -> Iterator[Event]:
    return (event for event in events if isinstance(event, kind))


def _samples(events: Sequence[object]) -> Iterator[Sample]:
    for chunk in _all(events, Sampled):
        pairs = zip(chunk.started_ns, chunk.elapsed_ns, strict=True)
        for index, (started_ns, elapsed_ns) in enumerate(pairs, chunk.first_index):
            yield Sample(chunk.phase, index, chunk.calls, started_ns, elapsed_ns)


def _parameters(events: Sequence[object]) -> tuple[ParameterError, ...]:
    event = last(events, Verified) or last(events, Failed)
    parameters = event.parameters if event else ()
    return tuple(
        entry._replace(name=sanitize_line(entry.name, NAME_LENGTH)) for entry in parameters
    )


def _checks(events: Sequence[object]) -> Iterator[Checked]:
    """Yield the checks that the worker sent, with sanitized texts."""
    for event in _all(events, Checked):
        figures = event.figures[:MOST_FIGURES]
        yield event._replace(
            reason=sanitize_line(event.reason, NOTE_LENGTH),
            figures=tuple(
                figure._replace(name=sanitize_line(figure.name, NAME_LENGTH)) for figure in figures
            ),
        )


def _loss_error(events: Sequence[object]) -> float | None:
    event = last(events, Verified) or last(events, Failed)
    return event.loss_error if event and not math.isnan(event.loss_error) else None
