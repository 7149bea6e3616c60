"""The study's published figures beside a report's own."""

from pathlib import Path

import pytest
from html_pages import SWEEP, Element, make_cell, parse_html

from velodrome.scheduler.commands.report_page import write_page
from velodrome.scheduler.reports.html.published import NOT_GIVEN, NOT_IN_STUDY, load_published
from velodrome.scheduler.results.store import Store


def test_the_studys_figures_appear_beside_ours_only_for_the_same_cell(tree: Element) -> None:
    table = next(tree.by_id("study").all("table"))
    ours = [one for one in table.all("tr") if one.text.startswith("theano")]
    assert "1.6 ms" in ours[0].text
    assert "Theano 0.8.2" in ours[0].text
    with_study = [card.text for card in tree.all(of="card") if "study's" in card.text]
    assert len(with_study) == 2  # ours on a GPU
    for card_text in with_study:
        assert ", gpu" in card_text
        assert "Theano 0.8.2" in card_text or "not PyTorch" in card_text
        assert "one Tesla M40, cuDNN v4; other definition" in card_text


def test_the_studys_figures_are_shown_from_the_start_beside_times_of_a_gpu(
    tree: Element, tmp_path: Path
) -> None:
    assert "checked" in tree.by_id("show-published").attributes
    store = Store(tmp_path / "results")
    with store.hold_sweep(SWEEP):
        store.put(SWEEP, make_cell("torch", "eager", "lenet"))
        store.compact(SWEEP)
    write_page(tmp_path / "results", "", tmp_path / "page.html")
    on_a_cpu = parse_html((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert "checked" not in on_a_cpu.by_id("show-published").attributes


def test_figures_missing_from_the_study_are_marked_as_missing() -> None:
    study = load_published()
    assert study.text("theano", "alexnet", 256, "gradient") == NOT_GIVEN
    assert study.text("theano==1.0.4", "lenet", 64, "gradient") == "1.6 ms"
    assert study.text("torch", "lenet", 32, "gradient") == NOT_GIVEN
    assert study.text("jax", "lenet", 64, "gradient") == NOT_IN_STUDY
    assert "not PyTorch" in study.frameworks["torch"]


def test_the_studys_totals_are_the_sums_of_its_stages() -> None:
    study = load_published()
    families = ("autoencoder-400-200-100", "autoencoder-800-1000-2000")
    for family in families:
        for framework in study.frameworks:
            stages = [study.values[framework, f"{family}/ae{n}", 64, "gradient"] for n in (1, 2, 3)]
            assert sum(stages) == pytest.approx(study.values[framework, family, 64, "total"])
