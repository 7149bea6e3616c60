"""Prices of nodes: of a type in cluster.yaml, of a node's label, of `--price`."""

from dataclasses import replace
from pathlib import Path

import pytest
from made_nodes import node

from velodrome.scheduler.commands.target import parse_target
from velodrome.scheduler.errors import ConfigError
from velodrome.scheduler.plans.declared_nodes import load_types, parse_types
from velodrome.scheduler.plans.node_prices import Price, make_price_list, parse_price
from velodrome.scheduler.plans.price_labels import LABEL
from velodrome.scheduler.sweeps.quantities import InvalidQuantity

FLEET = """\
available_node_types:
  head: {resources: {CPU: 0}, node_config: {}}
  l4: {resources: {CPU: 8, GPU: 1}, labels: {velodrome: l4}, node_config: {}}
  cpu: {resources: {CPU: 16}, labels: {velodrome: cpu}, node_config: {}}
head_node_type: head
metadata:
  velodrome:
    currency: EUR
    l4: {cores: 4, threads: 8, price_per_hour: 0.98}
"""
OF_L4, OF_CPU = (("velodrome", "l4"),), (("velodrome", "cpu"),)


def test_a_node_has_the_price_of_its_type() -> None:
    prices = make_price_list(parse_types(FLEET, "c.yaml"), "")
    priced = prices.with_price(node("a", labels=OF_L4))
    assert (priced.price_per_hour, priced.price_currency) == (0.98, "EUR")
    assert prices.with_price(node("b", labels=OF_CPU)).price_per_hour is None


def test_the_option_prices_the_nodes_that_the_file_does_not() -> None:
    prices = make_price_list(parse_types(FLEET, "c.yaml"), "2.5 EUR")
    assert prices.find_price(node("a", labels=OF_L4)) == Price(0.98, "EUR")
    assert prices.find_price(node("b", labels=OF_CPU)) == Price(2.5, "EUR")
    assert prices.find_price(node("c")) == Price(2.5, "EUR")


def test_a_label_of_a_node_comes_before_its_type() -> None:
    prices = make_price_list(parse_types(FLEET, "c.yaml"), "")
    labels = (*OF_L4, (LABEL, "1.5"))
    assert prices.find_price(node("a", labels=labels)) == Price(1.5, "EUR")
    assert not prices.find_fault(node("a", labels=labels))


@pytest.mark.parametrize(
    ("label", "fault"),
    [
        ((LABEL, "free"), f"the label {LABEL} holds 'free'. Give a number above 0"),
        ((LABEL, "0"), f"the label {LABEL} holds '0'. Give a number above 0"),
        ((LABEL, ""), f"the label {LABEL} holds ''. Give a number above 0"),
        (("velodrome-price-per-hr", "1.5"), f"Did you mean '{LABEL}'?"),
        (("velodrome-prices-per-hour", "1.5"), f"Did you mean '{LABEL}'?"),
        (("velodrome.price.per.hour", "1.5"), f"Did you mean '{LABEL}'?"),
    ],
)
def test_a_wrong_price_label_is_named_with_its_fix(label: tuple[str, str], fault: str) -> None:
    prices = make_price_list(parse_types(FLEET, "c.yaml"), "")
    assert fault in prices.find_fault(node("a", labels=(*OF_L4, label)))
    wrong = FLEET.replace("{velodrome: l4}", f'{{velodrome: l4, {label[0]}: "{label[1]}"}}')
    with pytest.raises(ConfigError, match=r"c\.yaml:3:45: (the|there is no) label ") as refused:
        parse_types(wrong, "c.yaml")
    assert fault in str(refused.value)


def test_other_labels_are_the_users_own() -> None:
    labels = (("velodrome-pool", "lab"), ("price", "high"), ("pool", "a"))
    assert not make_price_list((), "").find_fault(node("a", labels=labels))


def test_a_price_without_a_currency_is_in_that_of_the_file(tmp_path: Path) -> None:
    prices = make_price_list(parse_types(FLEET, "c.yaml"), "3")
    assert prices.find_price(node("b", labels=OF_CPU)) == Price(3.0, "EUR")
    assert prices.find_price(node("c", labels=((LABEL, "1.5"),))) == Price(1.5, "EUR")


@pytest.mark.parametrize(
    ("fleet", "price", "message"),
    [
        (FLEET, "3 USD", r"'3 USD' is in USD, the prices of the cluster file in EUR"),
        (
            FLEET.replace("price_per_hour: 0.98", "memory: 8GiB"),
            "3 USD",
            r"'3 USD' is in USD, the prices of the cluster file in EUR",
        ),
        (
            FLEET.replace("    currency: EUR\n", ""),
            "3 USD",
            r"the prices of the cluster file in none\. Add currency: USD to its metadata",
        ),
    ],
)
def test_two_currencies_are_refused_before_anything_runs(
    tmp_path: Path, fleet: str, price: str, message: str
) -> None:
    file = tmp_path / "cluster.yaml"
    file.write_text(fleet)
    with pytest.raises(ConfigError, match=f"--price: .*{message}"):
        parse_target("auto", file, "", price)


def test_prices_by_node_type_are_told_to_go_into_the_file() -> None:
    with pytest.raises(ConfigError, match=r"Those of node types go into cluster\.yaml"):
        parse_target("", None, "", "l4=3")


@pytest.mark.parametrize(
    ("text", "price"),
    [
        ("2.5", Price(2.5)),
        ("2.5 USD", Price(2.5, "USD")),
        (" 3  core hours ", Price(3, "core hours")),
    ],
)
def test_a_price_is_a_number_with_any_currency(text: str, price: Price) -> None:
    assert parse_price(text) == price


@pytest.mark.parametrize("text", ["", "0", "-1", "USD", "2,5", "1.2.3", "inf", "2.5USD"])
def test_what_is_no_price_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InvalidQuantity, match=r'such as "2\.5 USD"'):
        parse_price(text)


def test_a_wrong_option_is_refused_before_anything_runs() -> None:
    with pytest.raises(ConfigError, match=r"--price: 'cheap' is invalid\. Give a number above 0"):
        parse_target("", None, "", "cheap")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("price_per_hour: free", r"c\.yaml:9:48: price_per_hour holds 'free'"),
        ("price_per_hour: 0", r"c\.yaml:9:48: price_per_hour holds '0'\. Give a number above 0"),
        ('price_per_hour: "1"', "Write the number without quotes"),
        ("price_per_day: 9", "no such key of the hardware of l4 'price_per_day'"),
    ],
)
def test_a_wrong_price_in_the_file_is_named_with_its_place(wrong: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_types(FLEET.replace("price_per_hour: 0.98", wrong), "c.yaml")


def test_a_price_is_no_part_of_the_hardware() -> None:
    plain = node("a", labels=OF_L4)
    priced = make_price_list(parse_types(FLEET, "c.yaml"), "").with_price(plain)
    assert priced == plain
    assert replace(priced, price_per_hour=None).node_type == priced.node_type


def test_the_fleets_own_file_has_room_for_prices(tmp_path: Path) -> None:
    text = (Path(__file__).parents[3] / "cluster.yaml").read_text()
    found = "gpu-l4: {cores: 4,"
    assert found in text
    file = tmp_path / "cluster.yaml"
    file.write_text(text.replace(found, f"currency: USD\n    {found} price_per_hour: 0.98,"))
    prices = {each.name: each.node.price_per_hour for each in load_types(file)}
    assert (prices["gpu-l4"], prices["cpu-intel"]) == (0.98, None)
