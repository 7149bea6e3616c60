"""`velodrome compare`, on a results folder: its forms, its last sentence and its exit status."""

import csv
import io
import json

import pytest
from rich.console import Console

from velodrome.scheduler.cli import app
from velodrome.scheduler.commands.compare import (
    compare,
    exit_status,
    parse_failures,
    run_comparison,
)
from velodrome.scheduler.commands.report import Form
from velodrome.scheduler.comparison import rendering
from velodrome.scheduler.comparison.comparison_rows import COLUMNS
from velodrome.scheduler.comparison.outcome import compare_sides, summarize_side
from velodrome.scheduler.comparison.replication_units import group_past_rows
from velodrome.scheduler.comparison.wording import summarize
from velodrome.scheduler.errors import ConfigError
from velodrome.scheduler.results.store import Store

A, B = "20261123-010203-00000001", "20261124-010203-00000002"
EARLIER = tuple(f"202611{day}-010203-00000003" for day in range(18, 23))
NIGHTLY = {
    f"{day}": tuple(luck * (1 + 0.001 * (day % 3)) for luck in (1.0, 1.004, 0.996, 1.002, 0.998))
    for day in range(18, 23)
}
OTHER_LUCK = (1.001, 0.997, 1.003, 0.999, 1.002)
EVIL = (
    "\x1b]0;owned\x07\x1b[2J<script>alert(1)</script>[x](http://x)[bold]|`=1+1\r\nall is well\u202e"
)


@pytest.fixture(scope="module")
def kept(tmp_path_factory, measured):
    """Store two sweeps: a new version, a slower torch, a vanished model, hostile words.

    Five unchanged sweeps precede them.
    """
    root = tmp_path_factory.mktemp("compared") / "results"
    store = Store(root)
    nights = [(sweep_id, 10.0, "2.12.1") for sweep_id in (*EARLIER, A)]
    for sweep_id, ms, version in (*nights, (B, 11.2, "2.13.0")):
        luck = OTHER_LUCK if sweep_id >= B else NIGHTLY[sweep_id[6:8]] if sweep_id < A else ()
        found = measured(ms, luck, framework_version=version)
        found += measured(10.0, luck, model="alexnet", framework="numpy", variant="float64")
        found += measured(5.0, luck, model="lstm") if sweep_id != B else []
        found += measured(5.0, luck, framework=EVIL, variant=EVIL, hostname=EVIL, notes=(EVIL,))
        with store.hold_sweep(sweep_id):
            for one in found:
                store.put(sweep_id, one)
    return str(root)


def printed(capsys, kept, form: Form, *sides: str) -> str:
    compare(*(sides or ("last~1", "last")), kept, form=form)
    return capsys.readouterr().out


def test_the_terminal_output_ends_with_one_sentence(kept, capsys) -> None:
    out = " ".join(printed(capsys, kept, Form.TERMINAL).split())
    assert out.endswith(
        "Of 6 times, 2 slower, 0 faster, 4 undecided (these alike within 2 %); gradient 1.040x "
        "overall (1.035 to 1.044); cells: 1 vanished; likeliest cause: torch version 2.12.1 -> "
        "2.13.0."
    )


@pytest.mark.parametrize("width", [80, 120])
def test_lines_fit_the_terminal_and_verdicts_need_no_colours(kept, width) -> None:
    screen = Console(width=width, file=io.StringIO(), color_system=None)
    outcome = run_comparison("last~1", "last", kept, only="framework=torch|numpy", least=0.02)
    screen.print(rendering.render_rich(outcome))
    text = screen.file.getvalue()
    assert max(map(len, text.splitlines())) <= width
    (line,) = (line for line in text.splitlines() if "1.121x" in line and "11.2 ms" in line)
    assert line.startswith("▲ slower")
    assert "= undecided" in text


def test_every_form_reports_the_replication_unit_and_its_number(kept, capsys) -> None:
    unit = "sweep: 1 against 1, variance from 5 other sweeps of the cell on its node"
    assert unit in " ".join(printed(capsys, kept, Form.TERMINAL).split())
    assert unit in printed(capsys, kept, Form.MARKDOWN)
    cells = json.loads(printed(capsys, kept, Form.JSON))["cells"]
    lines = list(csv.DictReader(io.StringIO(printed(capsys, kept, Form.CSV))))
    names = ("unit", "base_units", "candidate_units", "past_sweeps")
    assert [cells[0][name] for name in names] == ["sweep", 1, 1, 5]
    assert [lines[0][name] for name in names] == ["sweep", "1", "1", "5"]


def test_two_variants_of_one_sweep_are_pairs_and_the_gain_is_reported(
    tmp_path, measured, capsys
) -> None:
    store = Store(tmp_path / "results")
    with store.hold_sweep(A):
        for variant, ms in (("eager", 10.0), ("compile", 8.0)):
            for one in measured(ms, (1.0, 1.02, 1.04, 1.01, 1.03), 8, variant=variant):
                store.put(A, one)
    sides = ("last variant=eager", "last variant=compile")
    out = " ".join(printed(capsys, str(tmp_path / "results"), Form.TERMINAL, *sides).split())
    assert "pair of processes in one sweep: 8 pairs (2 times)" in out
    assert "standard error of pairs of neighbours over that of processes: 0." in out
    assert "Of 2 times, 0 slower, 2 faster" in out


def test_csv_has_a_line_per_time_and_per_cell_without_a_time(kept, capsys) -> None:
    out = printed(capsys, kept, Form.CSV)
    lines = list(csv.DictReader(io.StringIO(out)))
    assert tuple(lines[0]) == COLUMNS
    rows = [(line["verdict"], line["framework"], line["model"], line["phase"]) for line in lines]
    assert {rows[0], rows[1]} == {
        ("slower", "torch", "lenet", "forward"),
        ("slower", "torch", "lenet", "gradient"),
    }
    assert rows[-1] == ("vanished", "torch", "lstm", "")


def test_json_is_one_object_with_everything(kept, capsys) -> None:
    result = json.loads(printed(capsys, kept, Form.JSON))
    assert result["base"]["sweep_ids"] == [A]
    assert result["geometric_means"]["gradient"]["count"] == 3
    assert result["causes"][0]["name"] == "torch version"
    assert result["cells"][0]["ratio_low"] < 1.12 < result["cells"][0]["ratio_high"]
    assert result["sentence"].startswith("Of 6 times, 2 slower")


@pytest.mark.parametrize("form", [Form.TERMINAL, Form.CSV, Form.MARKDOWN])
def test_hostile_words_become_no_control_sequence_line_or_formula(kept, capsys, form) -> None:
    out = printed(capsys, kept, form)
    assert not set(out) & {"\x1b", "\x07", "\r", "\u202e"}
    assert not any(line.lstrip("| ").startswith("all is well") for line in out.splitlines())
    if form is Form.MARKDOWN:
        assert "<script>" not in out
        assert "](http" not in out


def test_variants_frameworks_and_versions_are_selected_within_a_sweep(kept, capsys) -> None:
    out = printed(capsys, kept, Form.MARKDOWN, "last framework=torch", "last~1 framework=torch")
    assert "▼ faster" in out
    with pytest.raises(ConfigError, match="framework is numpy in the base, torch in the cand"):
        printed(capsys, kept, Form.CSV, "last framework=numpy model=alexnet", "last variant=eager")


def test_runs_with_interference_cast_doubt_on_a_change(cell, earlier) -> None:
    base, candidate = cell(A), cell(B, 12, interference_free=False)
    past = group_past_rows(earlier(base))
    sides = [
        (summarize_side("", (A,), base), base),
        (summarize_side("", (B,), candidate), candidate),
    ]
    outcome = compare_sides(*sides, {}, subjects=frozenset(), least=0.02, past=past)
    assert summarize(outcome).endswith(
        "; most runs of the candidate had interference: measure again when idle."
    )


def test_processes_without_sample_intervals_are_compared_by_their_medians(cell, earlier) -> None:
    unbounded = dict.fromkeys(
        f"{p}_{b}_ns" for p in ("forward", "gradient") for b in ("low", "high")
    )
    base, candidate = cell(A, **unbounded), cell(B, 12, **unbounded)
    sides = [
        (summarize_side("", (A,), base), base),
        (summarize_side("", (B,), candidate), candidate),
    ]
    past = group_past_rows(earlier(base))
    outcome = compare_sides(*sides, {}, subjects=frozenset(), least=0.02, past=past)
    assert all(time.has_moved for time in outcome.times)


def test_the_same_runs_on_both_sides_are_refused(kept) -> None:
    with pytest.raises(ConfigError, match="BASE and CANDIDATE are the same runs"):
        compare("last", B, kept, form=Form.CSV)


def test_the_option_only_applies_to_both_sides(kept) -> None:
    outcome = run_comparison("last~1", "last", kept, only="framework=numpy", least=0.02)
    assert {time.pair.base[0].framework for time in outcome.times} == {"numpy"}
    assert summarize(outcome).endswith(
        "no recorded setting differs (A/A): chance alone gives a verdict in at most 5 % of "
        "such comparisons."
    )


def test_the_exit_status_is_1_only_for_requested_verdicts(kept) -> None:
    outcome = run_comparison("last~1", "last", kept, only="", least=0.02)
    statuses = {"": 0, "slower": 1, "faster": 0, "broke": 0, "vanished": 1, "faster,slower": 1}
    for text, expected in statuses.items():
        failures = parse_failures([text] if text else [])
        assert (text, exit_status(outcome, failures)) == (text, expected)
    with pytest.raises(ConfigError, match=r"there is no 'slow'\. Did you mean 'slower'"):
        parse_failures(["slow"])


def test_the_option_least_sets_the_smallest_relevant_change(kept) -> None:
    outcome = run_comparison("last~1", "last", kept, only="", least=0.2)
    assert exit_status(outcome, ("slower",)) == 0
    with pytest.raises(ConfigError, match=r"command line, --least: '2 apples' is invalid"):
        compare("last~1", "last", kept, least="2 apples", form=Form.CSV)


def test_the_command_line_has_the_comparison(kept, capsys) -> None:
    words = ["compare", "last~1", "last", "--results", kept, "--fail-on", "slower", "--csv"]
    assert app(words, standalone_mode=False) == 1
    assert capsys.readouterr().out.startswith("verdict,framework")
