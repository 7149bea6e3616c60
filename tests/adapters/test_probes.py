"""The probes in the frameworks' own interpreters: what each can do, and what it writes by hand."""

from pathlib import Path

import pytest

from velodrome.adapters.by_hand import kinds_by_hand
from velodrome.adapters.models.probes import PROBED

pytestmark = [pytest.mark.framework, pytest.mark.slow]

PROBING = Path(__file__).with_name("probing.py")

# Per framework the variants, and the probes that it has no own operation for. Other variants are
# left to a sweep: they compile every probe anew.
BY_HAND = {
    ("torch", ("eager", "channels_last")): set(),
}


@pytest.mark.parametrize(("framework", "variants"), BY_HAND)
def test_every_probe_agrees_and_tells_what_is_by_hand(workers_of, framework, variants):
    bench = workers_of(framework)
    found = bench.say(str(PROBING), bench.framework.adapter, *variants)
    for variant in variants:
        outcomes = found[variant]
        assert {
            name: text for name, (status, text, _) in outcomes.items() if status != "agreed"
        } == {}
        told = {
            name for name, (_, _, notes) in outcomes.items() if PROBED[name] in kinds_by_hand(notes)
        }
        assert told == BY_HAND[framework, variants], variant
