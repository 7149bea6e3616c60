"""A node with a wrong price label: refused with the reason, in a real Ray of one node."""

import subprocess
import sys

import pytest

JOIN_IT = """
from velodrome.agents.inventory import take_inventory
from velodrome.scheduler.fleet.embedded_ray import embedded_ray, apply_ray_variables
from dataclasses import replace
with embedded_ray(1, 0) as started:
    apply_ray_variables(started.variables)
    from velodrome.scheduler.fleet.cluster import connect
    with connect(started.address):
        from velodrome.scheduler.fleet.membership import Membership, only_node
        from velodrome.scheduler.plans.node_prices import make_price_list
        for text in ("free", "1.5"):
            labels = (("velodrome-price-per-hour", text),)
            node = replace(take_inventory(), hostname="here", labels=labels)
            with Membership({only_node(): node}, prices=make_price_list((), "9 USD")) as members:
                found = members.wait_for_nodes(print)
                print([(one.price_per_hour, one.price_currency) for one in found])
"""


@pytest.mark.slow
def test_a_node_whose_price_label_is_no_number_is_refused_with_the_reason() -> None:
    done = subprocess.run(
        [sys.executable, "-c", JOIN_IT], capture_output=True, text=True, timeout=200, check=False
    )
    lines = done.stdout.splitlines()
    assert lines[0].endswith(
        "cannot measure: the label velodrome-price-per-hour holds 'free'. "
        "Give a number above 0, without a currency, such as 1.5."
    ), done.stderr
    assert lines[1:] == ["[]", "[(1.5, 'USD')]"]
