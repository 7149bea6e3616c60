"""Settings `phases` and `optimizer` of a sweep file, and the same options of `measure`."""

from collections.abc import Sequence

from velodrome.adapters.protocol import TIMED_PHASES, TRAINING_PHASES, USUAL_PHASES
from velodrome.agents.environments.recipes import did_you_mean
from velodrome.agents.phases import choose_phases, explain_missing, uses_optimizer
from velodrome.scheduler.errors import ConfigError
from velodrome.scheduler.sweeps import value_parsers
from velodrome.scheduler.sweeps.yaml_nodes import Value

EXAMPLE = "[forward, gradient, step]"
UNUSED = "no phase uses an optimizer"
NAMED = " or ".join(TRAINING_PHASES)


def read_phases(value: Value, name: str) -> tuple[str, ...]:
    """Read a list of phases, which are timed in their own order, whatever that of the list."""
    choices = {phase: (phase,) for phase in TIMED_PHASES}
    return sort_phases(value_parsers.read_names(value, name, "phase", choices, EXAMPLE))


def read_optimizer(value: Value, name: str) -> str:
    return value_parsers.read_one_of(value, name, "optimizer", _list_optimizers())


def sort_phases(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(phase for phase in TIMED_PHASES if phase in names)


def check_optimizer(value: Value | None, phases: Sequence[str]) -> None:
    """Raise ConfigError at the value of `optimizer` if no phase of the sweep uses one."""
    if value is not None and not uses_optimizer(phases):
        raise ConfigError(value.place, UNUSED, f"Add {NAMED} to `phases`.")


def parse_phases(texts: Sequence[str], model: str) -> tuple[str, ...]:
    """Parse the values of `--phases`, each one phase or several with commas between; empty: usual.

    ConfigError for an unknown phase, and for one that the model has not.
    """
    names = [name.strip() for text in texts for name in text.split(",")]
    if texts and not any(names):
        mend = f"Give one or more of {', '.join(TIMED_PHASES)}, or leave it out."
        raise _make_error("--phases", "no phase is given", mend)
    for name in names:
        if name not in TIMED_PHASES:
            mend = did_you_mean(name, TIMED_PHASES)
            raise _make_error("--phases", f"there is no '{name}'", mend)
    wanted = sort_phases(names) or USUAL_PHASES
    found = choose_phases(model, wanted)
    if names and (missing := explain_missing(model, wanted)):
        raise _make_error("--phases", missing, "Leave it out, or give another model.")
    if found != wanted:
        own = "its usual phases" if found == USUAL_PHASES else ", ".join(found)
        problem = f"{model} is timed in {own} alone"
        raise _make_error("--phases", problem, "Leave --phases out, or give another model.")
    return found


def parse_optimizer(text: str, phases: Sequence[str]) -> str:
    """Parse `--optimizer`; empty if no phase uses one. ConfigError for an unknown or unused one."""
    if text and text not in _list_optimizers():
        mend = did_you_mean(text, _list_optimizers())
        raise _make_error("--optimizer", f"there is no '{text}'", mend)
    if text and not uses_optimizer(phases):
        raise _make_error("--optimizer", UNUSED, f"Add {NAMED} to --phases.")
    return text


def describe_phases(phases: Sequence[str], optimizer: str) -> str:
    """Describe phases in words: `forward, gradient, step (sgd)`."""
    used = f" ({optimizer})" if optimizer else ""
    return ", ".join(phases) + used


def _list_optimizers() -> tuple[str, ...]:
    from velodrome.adapters import optimizers  # late: it imports NumPy

    return optimizers.NAMES


def _make_error(option: str, problem: str, mend: str) -> ConfigError:
    return ConfigError(f"command line, {option}", problem, mend)
