"""Steps of the GPU check, run in the order of their value until the time is spent."""

import signal
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import FrameType

TAIL_LINES = 12

Figures = Mapping[str, object]  # values that JSON has


class StepVerdict(StrEnum):
    """The end of a step. SKIPPED: it cannot be done here. LEFT_OUT: there was no time for it."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"
    LEFT_OUT = "left out"


@dataclass(frozen=True)
class StepOutcome:
    """One step's verdict, with what was seen and the figures behind it."""

    verdict: StepVerdict
    text: str
    figures: Figures = field(default_factory=dict)
    name: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class CheckStep:
    """One step. run: gets the seconds that are left. least_s: with less left, it is left out."""

    name: str
    run: Callable[[float], StepOutcome]
    least_s: float


class TimeSpent(KeyboardInterrupt):
    """The time of the whole check is spent. An interrupt, since a step cleans up after those."""


def passed(text: str, figures: Figures | None = None) -> StepOutcome:
    return StepOutcome(StepVerdict.PASSED, text, figures or {})


def failed(text: str, figures: Figures | None = None) -> StepOutcome:
    return StepOutcome(StepVerdict.FAILED, text, figures or {})


def skipped(text: str, figures: Figures | None = None) -> StepOutcome:
    return StepOutcome(StepVerdict.SKIPPED, text, figures or {})


def run_steps(
    steps: Sequence[CheckStep],
    ends_s: float,
    on_outcome: Callable[[StepOutcome], None],
    now_s: Callable[[], float] = time.monotonic,
) -> tuple[StepOutcome, ...]:
    """Run the steps until ends_s, of the clock now_s; those without time are left out.

    A step that fails, or that raises, does not end the others.
    """
    outcomes = []
    for step in steps:
        started_s = now_s()
        outcome = _run_step(step, ends_s - started_s)
        outcomes.append(replace(outcome, name=step.name, seconds=now_s() - started_s))
        on_outcome(outcomes[-1])
    return tuple(outcomes)


def exit_status(outcomes: Sequence[StepOutcome]) -> int:
    """Return 1 if a step failed, or if none passed; else 0."""
    verdicts = {outcome.verdict for outcome in outcomes}
    return int(StepVerdict.FAILED in verdicts or StepVerdict.PASSED not in verdicts)


def _run_step(step: CheckStep, left_s: float) -> StepOutcome:
    if left_s < step.least_s:
        text = f"needs {step.least_s:.0f} s, and {max(left_s, 0):.0f} s are left"
        return StepOutcome(StepVerdict.LEFT_OUT, text)
    try:
        with _time_limit(left_s):
            return step.run(left_s)
    except TimeSpent:
        return StepOutcome(StepVerdict.LEFT_OUT, f"was not done in the {left_s:.0f} s left")
    except Exception as error:
        # Time on a GPU is rare: a fault of ours in one step must not lose what the others show.
        tail = traceback.format_exc().splitlines()[-TAIL_LINES:]
        return failed(f"{type(error).__name__}: {error}", {"traceback": tail})


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Raise TimeSpent in the block after so many seconds. In the main thread only."""
    before = signal.signal(signal.SIGALRM, _raise_time_spent)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _raise_time_spent(number: int, frame: FrameType | None) -> None:
    raise TimeSpent
