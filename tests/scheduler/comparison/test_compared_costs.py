"""Comparisons and recommendations by energy, price and MFU: verdicts are on these, not on times."""

import csv
import io
import json
from dataclasses import replace

import pytest
from made_measurements import VERIFIED

from velodrome.agents.measurement import NodePrice, PhaseEnergy
from velodrome.scheduler.commands.compare import compare
from velodrome.scheduler.commands.recommend import show_recommendation
from velodrome.scheduler.commands.report import Form
from velodrome.scheduler.errors import ConfigError
from velodrome.scheduler.reports.cell_work import GridUnit
from velodrome.scheduler.results.store import Store

A = "20261123-010203-00000001"
SIDES = ("last variant=eager", "last variant=compile")
# The second is faster, on a node of twice the price, and uses its GPU worse.
WAYS = {
    "eager": (10.0, NodePrice(1.0, 1.0, "USD"), 6.4, 1e12),
    "compile": (8.0, NodePrice(2.0, 2.0, "USD"), 3.2, 4e12),
}

LUCK = (1.0, 1.01, 0.99, 1.005, 0.995)  # of the energy of one process to the next


def keep(place, measured, ways) -> str:
    store = Store(place)
    with store.hold_sweep(A):
        for variant, (ms, price, joules, peak) in ways.items():
            for at, one in enumerate(
                measured(
                    ms,
                    variant=variant,
                    verified=VERIFIED,
                    price=price,
                    vendor_peak_flops_per_s=peak,
                )
            ):
                used = (PhaseEnergy("gradient", joules * LUCK[at]),) if joules else ()
                store.put(A, replace(one, energies=used))
    return str(place)


@pytest.fixture
def kept(tmp_path, measured) -> str:
    return keep(tmp_path / "results", measured, WAYS)


def printed(capsys, kept, unit: GridUnit, form: Form = Form.MARKDOWN) -> str:
    compare(*SIDES, kept, form=form, unit=unit)
    return capsys.readouterr().out


def gradient_line(text: str) -> str:
    (line,) = (line for line in text.splitlines() if "gradient" in line and line.startswith("| "))
    return line


def test_the_faster_one_is_worse_where_it_costs_more(kept, capsys) -> None:
    assert "▼ faster" in gradient_line(printed(capsys, kept, GridUnit.TIME))
    out = printed(capsys, kept, GridUnit.COST)
    line = gradient_line(out)
    assert "▲ worse" in line
    assert "USD per million images" in line
    assert "| 0.0434 | 0.0694 | 1.600x |" in line
    assert "price of a million images, vectors or true tokens: lower is better" in out
    assert "2 costs, 2 worse, 0 better" in out


def test_energy_has_verdicts_of_its_own_and_gradients_alone(kept, capsys) -> None:
    out = printed(capsys, kept, GridUnit.ENERGY)
    assert "▼ better" in gradient_line(out)
    assert "| 0.100 | 0.0500 | 0.500x |" in gradient_line(out)
    assert "Of 1 energy, 0 worse, 1 better" in out
    assert "forward" not in "".join(line for line in out.splitlines() if line.startswith("| "))


def test_mfu_is_worse_where_it_is_lower(kept, capsys) -> None:
    out = printed(capsys, kept, GridUnit.MFU)
    line = gradient_line(out)
    assert "▲ worse" in line
    assert "0.312x" in line or "0.313x" in line
    assert " % |" in line
    assert "share of the vendor's dense peak: higher is better" in out


def test_csv_and_json_name_the_quantity_and_its_values(kept, capsys) -> None:
    text = printed(capsys, kept, GridUnit.COST, Form.CSV)
    rows = {line["phase"]: line for line in csv.DictReader(io.StringIO(text))}
    assert float(rows["gradient"]["ratio"]) == pytest.approx(1.6, rel=1e-3)
    assert rows["gradient"]["quantity"] == "cost"
    assert float(rows["gradient"]["candidate_value"]) == pytest.approx(0.0694, rel=1e-2)
    assert rows["gradient"]["base_ns"] == ""
    of_times = printed(capsys, kept, GridUnit.TIME, Form.CSV)
    assert {line["quantity"] for line in csv.DictReader(io.StringIO(of_times))} == {"time"}
    found = json.loads(printed(capsys, kept, GridUnit.MFU, Form.JSON))
    assert found["quantity"] == "mfu"


def test_ratios_of_mfu_are_of_mfu_itself_and_name_the_better_direction(kept, capsys) -> None:
    found = json.loads(printed(capsys, kept, GridUnit.MFU, Form.JSON))
    assert found["better"] == "higher"
    (row,) = (cell for cell in found["cells"] if cell["phase"] == "gradient")
    assert row["ratio"] == pytest.approx(row["candidate_value"] / row["base_value"], rel=0.02)
    assert row["ratio_low"] < row["ratio"] < row["ratio_high"] < 1
    assert (row["verdict"], row["better"]) == ("worse", "higher")
    mean = found["geometric_means"]["gradient"]
    assert mean["ratio"] == pytest.approx(row["ratio"])
    assert mean["low"] < mean["ratio"] < mean["high"]
    text = printed(capsys, kept, GridUnit.MFU, Form.CSV)
    lines = {line["phase"]: line for line in csv.DictReader(io.StringIO(text))}
    assert float(lines["gradient"]["ratio"]) == pytest.approx(row["ratio"])
    of_costs = json.loads(printed(capsys, kept, GridUnit.COST, Form.JSON))
    assert (of_costs["better"], of_costs["cells"][0]["better"]) == ("lower", "lower")


def test_a_quantity_that_no_cell_has_is_refused_with_the_reason(tmp_path, measured) -> None:
    ways = {variant: (ms, None, None, None) for variant, (ms, *_) in WAYS.items()}
    kept = keep(tmp_path / "results", measured, ways)
    with pytest.raises(ConfigError, match=r"known cost on both sides\. No cost: no price: give"):
        compare(*SIDES, kept, form=Form.MARKDOWN, unit=GridUnit.COST)
    with pytest.raises(ConfigError, match="no cell has a known MFU on both sides"):
        compare(*SIDES, kept, form=Form.MARKDOWN, unit=GridUnit.MFU)


def recommended(kept, capsys, form: Form) -> str:
    assert show_recommendation("lenet", kept, by="price", phase="", only="", form=form) == 0
    return capsys.readouterr().out


def test_the_cheapest_way_is_recommended_with_its_price_and_currency(kept, capsys) -> None:
    text = recommended(kept, capsys, Form.MARKDOWN)
    assert "cheapest of 2 for lenet: torch eager" in text
    assert "USD per million images" in text
    assert "| more expensive | torch compile |" in text
    first, second = json.loads(recommended(kept, capsys, Form.JSON))
    assert (first["variant"], first["currency"]) == ("eager", "USD")
    assert first["cost_per_million_units"] == pytest.approx(0.0434, rel=1e-2)
    assert second["ratio"] == pytest.approx(1.6, rel=1e-3)


def test_prices_in_two_currencies_are_not_ranked(tmp_path, measured) -> None:
    ways = WAYS | {"compile": (8.0, NodePrice(2.0, 2.0, "EUR"), 3.2, 4e12)}
    kept = keep(tmp_path / "results", measured, ways)
    with pytest.raises(ConfigError, match="several currencies: EUR and USD"):
        show_recommendation("lenet", kept, by="price", phase="", only="", form=Form.JSON)
    with pytest.raises(ConfigError, match="several currencies: EUR and USD"):
        compare(*SIDES, kept, form=Form.MARKDOWN, unit=GridUnit.COST)


def keep_again(kept: str, measured, sweep_id: str, price: NodePrice, ms: float = 10.0) -> None:
    store = Store(kept)
    with store.hold_sweep(sweep_id):
        for one in measured(ms, variant="eager", verified=VERIFIED, price=price):
            store.put(sweep_id, one)


def test_a_side_with_two_prices_has_no_cost_to_compare(kept, measured) -> None:
    keep_again(kept, measured, "20261124-010203-00000002", NodePrice(3.0, 3.0, "USD"))
    both = "20261123-010203-00000001 20261124-010203-00000002 variant=eager"
    with pytest.raises(
        ConfigError, match=r"price is 1 USD per hour and 3 USD per hour in the base, 2 USD per hour"
    ):
        compare(both, f"{A} variant=compile", kept, form=Form.MARKDOWN, unit=GridUnit.COST)


def test_repeats_of_two_prices_are_left_out_of_the_ranking_by_name(kept, measured, capsys) -> None:
    store = Store(kept)
    for at, one in enumerate(measured(1.0, variant="channels_last", verified=VERIFIED)):
        store.put(A, replace(one, price=NodePrice(1.0, 1.0 + at, "USD")))
    text = recommended(kept, capsys, Form.MARKDOWN)
    assert "cheapest of 2 for lenet: torch eager" in text
    assert "Left out, as repeats have several prices: torch channels_last" in text


def test_a_new_price_of_the_same_times_is_no_variation(kept, measured, capsys) -> None:
    """Six earlier sweeps at prices that double: the times of all are alike."""
    for day in range(6):
        price = NodePrice(1.0, 0.01 * 2**day, "USD")
        keep_again(kept, measured, f"2026111{day}-010203-0000000{day}", price)
    first, _ = json.loads(recommended(kept, capsys, Form.JSON))
    low, high = (first[f"cost_per_million_units_{bound}"] for bound in ("low", "high"))
    assert 0.95 < low / first["cost_per_million_units"] < 1
    assert 1 < high / first["cost_per_million_units"] < 1.05


def test_without_a_price_the_recommendation_says_how_to_give_one(tmp_path, measured) -> None:
    ways = {variant: (ms, None, None, None) for variant, (ms, *_) in WAYS.items()}
    kept = keep(tmp_path / "results", measured, ways)
    with pytest.raises(ConfigError, match=r"known price\. Give price_per_hour in cluster\.yaml"):
        show_recommendation("lenet", kept, by="price", phase="", only="", form=Form.JSON)
