"""Entry point of a command: signal handling, error messages, exit status."""

import os
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import NoReturn

from velodrome.scheduler import interrupts, standard_streams

# Options whose name changed, with the new one.
RENAMED_OPTIONS = {
    "--odd": "--outliers",
    "--fail-on-odd": "--fail-on-outlier",
    "--why": "--explain",
}


def enter(load: Callable[[], Callable[..., object]]) -> NoReturn:
    """Run the loaded command line to the end of this process.

    Nothing slow is imported before signals are handled.
    """
    status = 0
    # Matrices here are small. On a busy machine, threads that wait for each other cost tenfold.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    sys.meta_path.insert(0, _PandasHider())
    try:
        # First, or the descriptors below would take the numbers of closed streams.
        standard_streams.install_streams()
        interrupts.install_handlers()
        status = standard_streams.exit_status(_run(load))
        interrupts.ignore_signals()
    except BaseException:
        # An interrupt may arrive as another exception.
        if not interrupts.get_signal():
            raise
    if interrupts.get_signal():
        _leave(128 + interrupts.get_signal())
    sys.exit(status)


class _PandasHider:
    """Hides an installed pandas from this process.

    Arrow imports it for half a second, only to recognize its types, of which there are none here.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> None:
        if fullname == "pandas":
            raise ModuleNotFoundError("velodrome does without pandas", name=fullname)


def _run(load: Callable[[], Callable[..., object]]) -> int:
    try:
        status = load()(standalone_mode=False)
    except Exception as error:
        if interrupts.get_signal():
            raise
        return _report_error(error)
    return status if isinstance(status, int) else 0


def _report_error(error: Exception) -> int:
    """Print an error that the user can fix and return its status.

    Raise any other, which is a bug.
    """
    # Typer has its own copy of Click, whose errors have an exit code and a method `show`.
    if hasattr(error, "exit_code") and hasattr(error, "show"):
        old_name = str(getattr(error, "option_name", ""))
        if old_name in RENAMED_OPTIONS:
            vars(error).update(
                message=f"{old_name} is named {RENAMED_OPTIONS[old_name]} now.", possibilities=None
            )
        error.show()
        return int(error.exit_code)
    from velodrome.agents.environments.failures import EnvironmentFailed
    from velodrome.agents.environments.recipes import RecipeError
    from velodrome.scheduler.errors import VelodromeError

    if type(error).__name__ == "ModelFileError":  # its own module may be what cannot be imported
        return _print_error(str(error), 2)

    if isinstance(error, VelodromeError):
        return _print_error(str(error), error.exit_status)
    if isinstance(error, RecipeError):
        return _print_error(str(error), 2)
    if isinstance(error, EnvironmentFailed):
        return _print_error("\n".join(filter(None, (error.log_tail, error.reason))), 4)
    raise error


def _print_error(text: str, status: int) -> int:
    from velodrome.agents.safe_text import strip_controls

    # The text may contain output of pip or of a framework.
    sys.stderr.write(f"velodrome: {strip_controls(text)}\n")
    return status


def _leave(status: int) -> NoReturn:
    """Exit at once: all is cleaned up, and an interrupted library may be unable to end."""
    try:
        standard_streams.exit_status(_print_error(interrupts.format_interrupt_message(), status))
    finally:
        os._exit(status)
