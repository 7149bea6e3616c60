"""Whether a task had the machine to itself."""

from velodrome.agents.measurement import Reading
from velodrome.agents.sampling.quietness import judge


def reading(
    own_percent: float, node_percent: float | None, phase: str = "forward", at_ns: int = 0
) -> Reading:
    return Reading(at_ns, phase, own_percent, 0, 1, node_cpu_percent=node_percent)


def test_a_machine_that_does_only_the_task_is_quiet() -> None:
    verdict = judge([reading(100.0, 27.0), reading(100.0, 26.0), reading(99.0, 25.0)], 4)
    assert (verdict.quiet, verdict.disturbed_by) == (True, "")


def test_what_others_use_is_told_in_cores() -> None:
    verdict = judge([reading(100.0, 62.5)] * 4, 4)
    assert verdict.quiet is False
    assert verdict.disturbed_by == "other processes kept 1.5 cores busy while it was timed"


def test_only_the_timed_phases_count() -> None:
    noise = [reading(0.0, 100.0, phase) for phase in ("import", "build", "verify", "warmup")]
    timed = [reading(100.0, 25.0, phase) for phase in ("forward", "forward", "gradient")]
    assert judge(noise + timed, 4).quiet is True


def test_what_is_not_known_is_not_judged() -> None:
    assert judge([], 4).quiet is None
    assert judge([reading(100.0, None)] * 9 + [reading(100.0, 90.0)] * 2, 4).quiet is None
