"""Every report on screens of 60, 80 and 120 columns, with the longest names that there are."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_measurements import VERIFIED, make_measurement, make_times
from rich.text import Text

from velodrome.adapters.models import MODELS
from velodrome.adapters.registry import FRAMEWORKS
from velodrome.agents.measurement import Measurement, Reading, Status
from velodrome.agents.task import Task
from velodrome.scheduler.commands.compare import compare
from velodrome.scheduler.commands.output import print_table
from velodrome.scheduler.commands.report import Form, ReportKind, report
from velodrome.scheduler.plans.expected_outcomes import TO_AGREE
from velodrome.scheduler.reports.terminal_tables import compute_widths
from velodrome.scheduler.results.store import Store

FIRST, SECOND = "20261124-063012-a1b2", "20261125-063012-a1b2"
HOST = "gpu-node-0123456789.measurements.eu-central-1.compute.example"
MODELS_SHOWN = sorted((name for name in MODELS if "probe" not in name), key=len)[-3:]
PROBES = sorted((name for name in MODELS if name.startswith("probe-")), key=len)[-2:]
VARIANTS = sorted(
    ((name, variant) for name, one in FRAMEWORKS.items() for variant in one.variants),
    key=lambda pair: len("".join(pair)),
)[-6:]
WIDTHS = (60, 80, 120)


def measured(
    framework: str, variant: str, model: str, slower: float = 1.0, processes: int = 1
) -> Measurement:
    crashed = {"status": Status.CRASHED, "reason": "it crashed"}
    timed = {"verified": VERIFIED, **make_times(123.4 * slower, 123.4 * slower)}
    return make_measurement(
        Task(f"{framework}==12.345.6rc1", variant, model, 65536, threads=192, processes=processes),
        **(crashed if (framework, variant) == VARIANTS[0] else timed),
        hostname=HOST,
        cpu_model="AMD EPYC 9965 192-Core Processor with a rather long name",
        rerun=f"velodrome measure {framework} {model} --batch-size 65536 --threads 192",
        gradient_error=1e-6,
        readings=(Reading(1, "forward", 190.0, 9, 1),),
    )


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("results")
    for sweep_id, slower in ((FIRST, 1.0), (SECOND, 1.5)):
        rows = [
            (replace(measured(*impl, model, slower * jitter), repeat=repeat), TO_AGREE)
            for impl in VARIANTS
            for model in (*MODELS_SHOWN, *PROBES)
            for repeat, jitter in enumerate((1.0, 1.004, 0.996))
        ]
        rows += [
            (measured(*impl, model, slower / 1.8, processes=2), TO_AGREE)
            for impl in VARIANTS
            for model in MODELS_SHOWN
        ]
        Store(root).put_all(sweep_id, rows)
    return root


@pytest.fixture(params=WIDTHS)
def width(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Set the width of the terminal for Rich."""
    for name, value in {"TTY_COMPATIBLE": "1", "NO_COLOR": "1", "TERM": "xterm"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("COLUMNS", str(request.param))
    return int(request.param)


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()


def assert_legible(shown: list[str], width: int) -> None:
    assert not [line for line in shown if "…" in line]
    # A command, and what closes a report, is broken by the terminal, that it may be copied.
    too_long = [line for line in shown if len(line) > width and "velodrome " not in line]
    assert too_long == []
    words = {word for line in shown for word in re.split(r"[ │,:]+", line)}
    assert {framework for framework, _ in VARIANTS[1:]} <= {word.split("==")[0] for word in words}


@pytest.mark.parametrize("kind", list(ReportKind))
def test_no_report_cuts_or_breaks_a_name(
    results: Path, width: int, kind: ReportKind, capsys: pytest.CaptureFixture[str]
) -> None:
    report(results, "", kind, Form.TERMINAL, None)
    shown = lines(capsys)
    if kind is ReportKind.OUTLIERS:
        assert not [line for line in shown if len(line) > width and "velodrome " not in line]
        return
    assert_legible(shown, width)
    named = PROBES if kind is ReportKind.EXTENSIBILITY else MODELS_SHOWN
    whole = "\n".join(shown)
    assert [name for name in named if name not in whole] == []
    if kind is not ReportKind.EXTENSIBILITY:  # it is of frameworks
        assert [variant for _, variant in VARIANTS[1:] if variant not in whole] == []


def test_a_comparison_names_every_cell(
    results: Path, width: int, capsys: pytest.CaptureFixture[str]
) -> None:
    compare(FIRST, SECOND, str(results), form=Form.TERMINAL)
    shown = lines(capsys)
    assert not [line for line in shown if "…" in line]
    assert not [line for line in shown if len(line) > width and "velodrome " not in line]
    assert [name for name in MODELS_SHOWN if name not in "\n".join(shown)] == [], shown


def test_a_table_of_tasks_keeps_them_apart(width: int, capsys: pytest.CaptureFixture[str]) -> None:
    labels = [measured(*impl, model).task.label for impl in VARIANTS for model in MODELS_SHOWN]
    print_table([{"task_id": "0" * 16, "task": one, "repeats": 3, "node": HOST} for one in labels])
    shown = lines(capsys)
    assert not [line for line in shown if "…" in line or len(line) > width]
    whole = "".join("".join(shown).split())
    assert [one for one in labels for word in one.split() if word not in whole] == []


@given(st.lists(st.lists(st.text("ab ", max_size=20), min_size=1), min_size=1, max_size=6))
def test_columns_fit_the_width_and_break_no_word(columns: list[list[str]]) -> None:
    for room in (0, 10, 40, 200):
        widths = compute_widths(columns, room)
        if widths:
            assert sum(widths) <= max(room, len(columns))
            for texts, width in zip(columns, widths, strict=True):
                words = (word for text in texts for word in text.split())
                assert max((Text(word).cell_len for word in words), default=0) <= width
