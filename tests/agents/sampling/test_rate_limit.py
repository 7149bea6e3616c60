from collections.abc import Iterator

from velodrome.agents.sampling.rate_limit import RateLimited


def test_a_source_is_read_seldom_enough_to_stay_within_its_share() -> None:
    clock = iter([0, 4_999, 5_000, 5_001])
    cost = _counter(step=10)  # each reading takes 10 ns
    read = RateLimited(
        lambda: "value", share=0.002, now_ns=lambda: next(clock), cost_ns=lambda: next(cost)
    )
    assert [read() for _ in range(4)] == ["value", None, "value", None]


def test_some_expensive_readings_cause_no_long_pause() -> None:
    clock = iter([0, 1_000, 2_000, 2_999, 3_000, 3_001])
    # They take 2, 90, 90 and 2 ns; the second alone would silence it for 45,000 ns.
    cost = iter([0, 2, 0, 90, 0, 90, 0, 2])
    read = RateLimited(
        lambda: "value", share=0.002, now_ns=lambda: next(clock), cost_ns=lambda: next(cost)
    )
    assert [read() for _ in range(6)] == ["value", "value", "value", None, "value", None]


def test_a_source_that_became_expensive_is_read_less_often() -> None:
    clock = iter(range(0, 8_000, 1_000))
    cost = iter([0, 2] + 6 * [0, 4])  # 1,000 ns of pause, then 2,000 as soon as all five take 4 ns
    read = RateLimited(
        lambda: "value", share=0.002, now_ns=lambda: next(clock), cost_ns=lambda: next(cost)
    )
    assert [read() for _ in range(8)] == 6 * ["value"] + [None, "value"]


def _counter(step: int) -> Iterator[int]:
    now = 0
    while True:
        yield now
        now += step
