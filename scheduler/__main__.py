"""The console script."""

from collections.abc import Callable
from typing import NoReturn

from velodrome.scheduler.entry import enter


def main() -> NoReturn:
    enter(_command_line)


def _command_line() -> Callable[..., object]:
    from velodrome.scheduler.cli import app

    return app


if __name__ == "__main__":
    main()
