"""The console script `velodrome`."""

from collections.abc import Callable
from typing import NoReturn

from velodrome.scheduler.entry import enter


def main() -> NoReturn:
    """Run the command line and exit with its status."""
    enter(_load_app)


def _load_app() -> Callable[..., object]:
    from velodrome.scheduler.cli import app

    return app


if __name__ == "__main__":
    main()
