"""Timed phases of a task: the choice among those of its model, and the one that decides."""

from collections.abc import Collection

from velodrome.adapters.models import MODELS, shapes
from velodrome.adapters.models.ceilings import CANARY, COPY, GEMMS
from velodrome.adapters.models.code_kinds import is_code
from velodrome.adapters.models.collectives import COLLECTIVES
from velodrome.adapters.models.copies import COPIES
from velodrome.adapters.models.layers import NoLoss
from velodrome.adapters.protocol import (
    LOADING_PHASES,
    TIMED_PHASES,
    TRAINING_PHASES,
    USUAL_PHASES,
    Request,
)

# The first of these that has a time is the decisive phase: its interval and its stop reason are the
# task's. The gradient comes first, so that a task keeps its decisive phase when others are added;
# phases that read a data set come last.
BY_IMPORTANCE = (
    "gradient",
    *(phase for phase in reversed(TIMED_PHASES) if phase not in ("gradient", *LOADING_PHASES)),
    *reversed(LOADING_PHASES),
)
USUAL_OPTIMIZER = "sgd"
# They describe the machine: their phases never change, so that sweeps of all phases compare them.
OF_MACHINE = frozenset(model.name for model in (CANARY, COPY, *GEMMS, *COLLECTIVES, *COPIES))


def choose_phases(model: str, wanted: Collection[str]) -> tuple[str, ...]:
    """Return the phases of a task, in their order: of those that a sweep wants, the model's.

    The usual ones for a ceiling; those that are wanted if the model has none of them, for
    `explain_missing` to say so. Of a model without a gradient the usual ones stand for forward.
    """
    if model in OF_MACHINE:
        return USUAL_PHASES
    ordered = tuple(phase for phase in TIMED_PHASES if phase in wanted)
    found = shapes.list_timed_phases(MODELS[model], ordered)
    has_gradient = is_code(MODELS[model]) or "gradient" in shapes.list_timed_phases(MODELS[model])
    if "forward" in ordered and not has_gradient:
        return USUAL_PHASES
    return tuple(phase for phase in found if phase in ordered) or ordered


def explain_missing(model: str, wanted: Collection[str]) -> str:
    """Say which of the wanted phases a model has not, and why; empty: none."""
    if model in OF_MACHINE:
        return ""
    own = shapes.list_timed_phases(MODELS[model], tuple(wanted))
    missing = [phase for phase in TIMED_PHASES if phase in wanted and phase not in own]
    reasons: dict[str, list[str]] = {}
    for phase in missing:
        reasons.setdefault(_explain_phase(model, phase), []).append(phase)
    return "; ".join(
        f"{model} has no {' or '.join(filter(None, (', '.join(phases[:-1]), phases[-1])))}: {why}"
        for why, phases in reasons.items()
    )


def has_none(model: str, wanted: Collection[str]) -> bool:
    """Return True if a model has none of the wanted phases: it cannot be timed in any."""
    own = shapes.list_timed_phases(MODELS[model], tuple(wanted))
    return model not in OF_MACHINE and not set(wanted) & {*own}


def _explain_phase(model: str, phase: str) -> str:
    if is_code(MODELS[model]):
        if phase in TRAINING_PHASES:
            return "of the frameworks of code, torch alone has optimizers"
        if phase == "inference":
            return "its file has no function inference(module, batch), which returns the output"
        return "code draws its batches itself, and reads no data set"
    if phase in LOADING_PHASES and not shapes.has_records(MODELS[model]):
        return "its examples are sequences of many lengths, and a data set has records of one"
    return "it has no loss" if isinstance(MODELS[model].loss, NoLoss) else "it trains no parameter"


def choose_optimizer(phases: Collection[str], wanted: str) -> str:
    """Return the optimizer of a task; empty if none of its phases uses one."""
    return (wanted or USUAL_OPTIMIZER) if uses_optimizer(phases) else ""


def uses_optimizer(phases: Collection[str]) -> bool:
    return any(phase in TRAINING_PHASES for phase in phases)


def find_decisive(timed: Collection[str]) -> str:
    """Return the decisive one of some phases; empty if there are none."""
    return next((phase for phase in BY_IMPORTANCE if phase in timed), "")


def list_requested(request: Request) -> tuple[str, ...]:
    """List the phases that a worker must time for a request, in their order."""
    if request.action != "measure":
        return ()
    return shapes.list_timed_phases(MODELS[request.model], request.phases)
