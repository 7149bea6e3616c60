"""Names of sweeps as a user types them."""

import pytest

from velodrome.scheduler.errors import ConfigError
from velodrome.scheduler.results.sweep_ids import resolve_sweep_id

KNOWN = ("20261124-063012-a1b2c3d4", "20261123-063012-11112222", "20261122-063012-33334444")


@pytest.mark.parametrize(
    ("text", "which"), [("last", 0), ("last~0", 0), ("last~1", 1), ("last~2", 2), ("20261123", 1)]
)
def test_sweeps_are_counted_back_from_the_last(text: str, which: int) -> None:
    assert resolve_sweep_id(text, KNOWN, "results") == KNOWN[which]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("last~3", "results: there is no 'last~3': 3 sweeps in all. The oldest is last~2."),
        ("last~", "results: there is no sweep 'last~'. "),
        ("last~x", "results: there is no sweep 'last~x'. "),
        ("2026112", "results: '2026112' begins 20261124"),
    ],
)
def test_an_invalid_sweep_name_is_reported(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve_sweep_id(text, KNOWN, "results")
    assert str(caught.value).startswith(message)
