"""`velodrome report` in every kind and form, from a results folder."""

import csv
import io
import json
from pathlib import Path

import pytest
from made_measurements import VERIFIED, make_measurement, make_times

from velodrome.agents.measurement import Measurement, Reading, Status
from velodrome.agents.task import Task
from velodrome.scheduler.commands.report import Form, ReportKind, choose_kind, report
from velodrome.scheduler.errors import ConfigError
from velodrome.scheduler.plans.expected_outcomes import TO_AGREE, ExpectedOutcome
from velodrome.scheduler.results.store import Store

SWEEP = "20261124-063012-a1b2"
NOTE = "composed: Lrn of shifted sums"


def measured(framework: str, variant: str, model: str, status: Status = Status.OK) -> Measurement:
    task = Task(framework, variant, model, 8, threads=2)
    same = {
        "status": status,
        "rerun": f"velodrome measure {framework} {model}",
        "notes": (NOTE,) if framework == "tensorflow" else (),
    }
    if not status.has_number:
        return make_measurement(task, reason="it has none", **same)
    readings = (Reading(1, "forward", 190.0, 9, 1),)
    checked = {"verified": VERIFIED, "gradient_error": 1e-6, "readings": readings}
    return make_measurement(task, **make_times(1, 1), **checked, **same)


@pytest.fixture
def results(store: Store, root: Path) -> Path:
    store.put(SWEEP, measured("torch", "eager", "probe-lrn"))
    store.put(SWEEP, measured("tensorflow", "graph", "probe-lrn"))
    lacks = ExpectedOutcome(("unsupported",), "neon has no LRN")
    store.put(SWEEP, measured("neon", "cpu", "probe-lrn", Status.UNSUPPORTED), lacks)
    store.put(SWEEP, measured("torch", "eager", "lenet"), TO_AGREE)
    return root


# A sweep without outliers and tasks on several devices has no rows of these; their own tests do.
OTHERS = (ReportKind.OUTLIERS, ReportKind.SCALING)


def text(results: Path, kind: ReportKind, form: Form, capsys: pytest.CaptureFixture[str]) -> str:
    report(results, "", kind, form, None)
    return capsys.readouterr().out


@pytest.mark.parametrize("form", list(Form))
@pytest.mark.parametrize("kind", [kind for kind in ReportKind if kind not in OTHERS])
def test_every_kind_has_every_form(
    results: Path, capsys: pytest.CaptureFixture[str], kind: ReportKind, form: Form
) -> None:
    shown = text(results, kind, form, capsys)
    assert "torch" in shown
    assert "probe-lrn" in shown
    if form is Form.JSON:
        assert len(json.loads(shown)) >= 3
    elif form is Form.CSV:
        lines = list(csv.DictReader(io.StringIO(shown)))
        assert {line["framework"] for line in lines} >= {"torch", "tensorflow"}
        assert None not in lines[0]


def test_the_extensibility_report_covers_only_probes(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = json.loads(text(results, ReportKind.EXTENSIBILITY, Form.JSON, capsys))
    found = {line["framework"]: (line["outcome"], line["evidence"]) for line in lines}
    assert found == {
        "torch": ("agreed", ""),
        "tensorflow": ("composed", NOTE),
        "neon": ("unsupported", "it has none"),
    }


def test_the_utilization_report_covers_only_timed_runs(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = json.loads(text(results, ReportKind.UTILIZATION, Form.JSON, capsys))
    assert [(line["framework"], line["model"]) for line in lines] == [
        ("torch", "lenet"),
        ("torch", "probe-lrn"),
        ("tensorflow", "probe-lrn"),
    ]
    assert {line["share"] for line in lines} == {0.95}


def test_every_kind_can_be_drawn_as_a_figure(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "picture.svg"
    report(results, "", ReportKind.EXTENSIBILITY, Form.TERMINAL, picture)
    assert "composed" in picture.read_text()
    assert f"wrote {picture}" in capsys.readouterr().out.replace("\n", "")


def test_nothing_to_report_is_an_error_with_the_remedy(store: Store, root: Path) -> None:
    store.put(SWEEP, measured("torch", "eager", "lenet", Status.CRASHED))
    with pytest.raises(ConfigError, match=r"there is no probe in this sweep\. Run sweeps/probes"):
        report(root, "", ReportKind.EXTENSIBILITY, Form.TERMINAL, None)
    with pytest.raises(ConfigError, match="nothing was timed in this sweep"):
        report(root, "", ReportKind.UTILIZATION, Form.TERMINAL, None)
    with pytest.raises(ConfigError, match="exclude each other"):
        choose_kind(True, True)  # noqa: FBT003 - two flags of the command line
