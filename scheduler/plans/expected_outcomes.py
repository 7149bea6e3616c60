"""Expected outcomes of tasks: agreement, unless the framework's `expected.toml` lists another.

The file lies beside the adapter and lists exceptions, each with its reason; the first match counts.
A framework without such a file, such as a user's own, is expected to agree everywhere.

    [[expected]]
    status = "unsupported"            # or several, any of which counts; `agreed` is one, too
    model = ["alexnet", "probe-*"]    # any field of a task, as in a sweep's `exclude`
    reason = "it has no grouped convolution"
    unset = ["NEON_SOURCE"]           # applies only while none of these variables is set

Two more conditions: `phase` holds for a task that times any of these phases, `optimizer` for one
whose phases use it.
"""

import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from velodrome.adapters.protocol import TIMED_PHASES
from velodrome.adapters.registry import Framework
from velodrome.agents.environments.recipes import did_you_mean
from velodrome.agents.environments.versions import split
from velodrome.agents.measurement import Status
from velodrome.agents.task import Task
from velodrome.scheduler.errors import ConfigError
from velodrome.scheduler.sweeps.conditions import FIELDS, FieldCondition, holds, list_fields
from velodrome.scheduler.sweeps.device_support import FILE_NAME, explain_missing_devices
from velodrome.scheduler.sweeps.groups import find_refusal
from velodrome.scheduler.sweeps.settings import find_missing_precision

AGREED = "agreed"  # `ok` and `unstable`: a number, and its proof
OUTCOMES = (AGREED, *(status.value for status in Status if not status.has_number))
_CONDITIONS = (*(name for name in FIELDS if name != "framework"), "phase", "optimizer")
_KEYS = ("status", "reason", "unset", *_CONDITIONS)


@dataclass(frozen=True)
class ExpectedOutcome:
    """Outcomes that are as expected, any of them; reason: why agreement is not the only one."""

    outcomes: tuple[str, ...] = (AGREED,)
    reason: str = ""

    def is_met_by(self, status: Status) -> bool:
        return name_outcome(status) in self.outcomes

    @property
    def text(self) -> str:
        """The outcomes in words: `unsupported`, `agreed or timed_out`."""
        return " or ".join(self.outcomes)


TO_AGREE = ExpectedOutcome()


def name_outcome(status: Status) -> str:
    """Convert a status to the name that expectations use."""
    return AGREED if status.has_number else status.value


@dataclass(frozen=True)
class Rule:
    """An entry of the file: tasks for which every condition holds."""

    conditions: tuple[FieldCondition, ...]
    expected: ExpectedOutcome
    unset: tuple[str, ...] = ()  # variables of the environment

    def fits(self, fields: Mapping[str, str], phases: Sequence[str]) -> bool:
        """Return True if all conditions hold for these fields and any one of these phases."""
        return any(
            all(holds(condition, {**fields, "phase": phase}) for condition in self.conditions)
            for phase in (phases if self._names_phases else phases[:1])
        )

    @property
    def _names_phases(self) -> bool:
        return any(condition.field == "phase" for condition in self.conditions)


@dataclass(frozen=True)
class Expectations:
    """Rules of the available frameworks, by name."""

    rules: Mapping[str, tuple[Rule, ...]]
    missing: Mapping[str, Mapping[str, str]]  # devices that a framework has no path for
    environ: Mapping[str, str]

    def find(self, task: Task) -> ExpectedOutcome:
        name, _ = split(task.framework)  # all versions share expectations
        if reason := self.missing.get(name, {}).get(task.device, ""):
            return ExpectedOutcome((Status.UNSUPPORTED.value,), f"it has {reason}")
        if lack := find_missing_precision(task.device, task.dtype):
            return ExpectedOutcome((Status.UNSUPPORTED.value,), lack)
        size = (task.batch_size, task.batch_size_rule)
        if refusal := find_refusal(task.model, task.phases, *size, task.device, task.devices):
            return ExpectedOutcome((Status.UNSUPPORTED.value,), refusal)
        fields = list_fields(task) | {"optimizer": task.optimizer}
        for rule in self.rules.get(name, ()):
            is_off = any(self.environ.get(variable) for variable in rule.unset)
            if not is_off and rule.fits(fields, task.phases):
                return rule.expected
        return TO_AGREE


def load_expectations(
    frameworks: Mapping[str, Framework], environ: Mapping[str, str] = os.environ
) -> Expectations:
    """Load the expectations of these frameworks.

    ConfigError names the file, the entry and the fix.
    """
    rules = {name: read_rules(Path(each.folder) / FILE_NAME) for name, each in frameworks.items()}
    missing = {name: explain_missing_devices(each) for name, each in frameworks.items()}
    return Expectations(rules, missing, environ)


def read_rules(path: Path) -> tuple[Rule, ...]:
    """Read the rules of a file; none if there is no file."""
    try:
        found = tomllib.loads(path.read_text())
    except FileNotFoundError:
        return ()
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(str(path), f"cannot be read ({error})", "Correct it there.") from None
    _check_keys(found, ("expected",), str(path))
    entries = found.get("expected", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ConfigError(f"{path}:expected", "not a list of entries", "Write [[expected]].")
    return tuple(
        _read_rule(entry, f"{path}:expected.{index}") for index, entry in enumerate(entries)
    )


def _read_rule(entry: Mapping[str, Any], place: str) -> Rule:
    _check_keys(entry, _KEYS, place)
    outcomes = _read_words(entry, "status", place)
    for word in outcomes:
        if word not in OUTCOMES:
            problem = f"there is no outcome '{word}'"
            raise ConfigError(f"{place}.status", problem, did_you_mean(word, OUTCOMES))
    reason = _read_words(entry, "reason", place)
    if len(reason) != 1:
        raise ConfigError(f"{place}.reason", "these are several reasons", "Write one sentence.")
    conditions = tuple(
        FieldCondition(name, _read_words(entry, name, place), place=place)
        for name in _CONDITIONS
        if name in entry
    )
    for condition in conditions:
        _check_names(condition)
    unset = _read_words(entry, "unset", place) if "unset" in entry else ()
    return Rule(conditions, ExpectedOutcome(outcomes, reason[0]), unset)


def _check_names(condition: FieldCondition) -> None:
    """Raise ConfigError for a phase that does not exist: the rule would never fit."""
    for name in condition.patterns:
        if condition.field == "phase" and name not in TIMED_PHASES:
            problem = f"there is no phase '{name}'"
            mend = did_you_mean(name, TIMED_PHASES)
            raise ConfigError(f"{condition.place}.phase", problem, mend)


def _read_words(entry: Mapping[str, Any], key: str, place: str) -> tuple[str, ...]:
    """Read a list of words; a single value counts as a list of one."""
    value = entry.get(key, [])
    words = value if isinstance(value, list) else [value]
    if not words or not all(map(_is_word, words)):
        mend = f'Give {key} = "..."' + ("." if key == "reason" else " or a list of such.")
        raise ConfigError(f"{place}.{key}", f"{key} is missing or not a text", mend)
    return tuple(str(word) for word in words)


def _is_word(value: object) -> bool:
    return (isinstance(value, str) and bool(value)) or type(value) is int


def _check_keys(found: Mapping[str, Any], allowed: tuple[str, ...], place: str) -> None:
    for key in found:
        if key not in allowed:
            raise ConfigError(f"{place}.{key}", "no such key", did_you_mean(key, allowed))
