"""Timed phases of a task: the choice among those of its model, and the one that decides."""

from collections.abc import Collection

from velodrome.adapters.models import MODELS, shapes
from velodrome.adapters.models.ceilings import CANARY, COPY, GEMMS
from velodrome.adapters.models.code_kinds import is_code
from velodrome.adapters.protocol import LOADING_PHASES, TIMED_PHASES, USUAL_PHASES, Request

# The first of these that has a time is the decisive phase: its interval and its stop reason are the
# task's. The gradient comes first, so that a task keeps its decisive phase when others are added;
# phases that read a data set come last.
BY_IMPORTANCE = (
    "gradient",
    *(phase for phase in reversed(TIMED_PHASES) if phase not in ("gradient", *LOADING_PHASES)),
    *reversed(LOADING_PHASES),
)
WITH_OPTIMIZER = ("update", "step")  # as velodrome.adapters.proof.phase_modes.TRAINING
USUAL_OPTIMIZER = "sgd"
# They describe the machine: their phases never change, so that sweeps of all phases compare them.
OF_MACHINE = frozenset(model.name for model in (CANARY, COPY, *GEMMS))


def choose_phases(model: str, wanted: Collection[str]) -> tuple[str, ...]:
    """Return the phases of a task, in their order, of those that a sweep wants.

    The usual ones for a ceiling, and for a model without a loss or without trained parameters; of
    these the worker times as many as the model has. Of code those that its framework has for it.
    None that reads a data set for a model whose examples have none.
    """
    if is_code(MODELS[model]):
        return shapes.list_timed_phases(MODELS[model], tuple(wanted))
    if model in OF_MACHINE or "gradient" not in shapes.list_timed_phases(MODELS[model]):
        return USUAL_PHASES
    left_out = () if shapes.has_records(MODELS[model]) else LOADING_PHASES
    chosen = tuple(phase for phase in TIMED_PHASES if phase in wanted and phase not in left_out)
    return chosen or USUAL_PHASES


def choose_optimizer(phases: Collection[str], wanted: str) -> str:
    """Return the optimizer of a task; empty if none of its phases uses one."""
    return (wanted or USUAL_OPTIMIZER) if uses_optimizer(phases) else ""


def uses_optimizer(phases: Collection[str]) -> bool:
    return any(phase in WITH_OPTIMIZER for phase in phases)


def find_decisive(timed: Collection[str]) -> str:
    """Return the decisive one of some phases; empty if there are none."""
    return next((phase for phase in BY_IMPORTANCE if phase in timed), "")


def list_requested(request: Request) -> tuple[str, ...]:
    """List the phases that a worker must time for a request, in their order."""
    if request.action != "measure":
        return ()
    return shapes.list_timed_phases(MODELS[request.model], request.phases)
