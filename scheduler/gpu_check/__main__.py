"""`python -m velodrome.scheduler.gpu_check`, which `make gpu-check` runs."""

from collections.abc import Callable

from velodrome.scheduler.entry import enter


def _load_app() -> Callable[..., object]:
    from velodrome.scheduler.gpu_check.command import app

    return app


if __name__ == "__main__":
    enter(_load_app)
