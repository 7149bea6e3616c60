"""The extensibility table: supported probes, how they are expressed, and the evidence."""

import io
import re

import report_texts
from made_rows import typed
from rich.console import Console

from velodrome.adapters.registry import FRAMEWORKS
from velodrome.scheduler.reports.extensibility import ProbeOutcome, build_grids, collect_outcomes
from velodrome.scheduler.reports.extensibility_text import (
    build_flat_rows,
    render_grids,
    render_markdown_grids,
)


def row(framework: str, model: str = "probe-lrn", **changes: object) -> dict[str, object]:
    """A row of a probe that agreed, unless changed."""
    of_probe: dict[str, object] = {
        "task_id": f"{framework}-{model}-{changes}",
        "variant": {"torch": "eager", "tensorflow": "graph"}.get(framework, "plain"),
        "batch_size": 8,
        "gradient_error": 3.2e-7,
        "notes": [],
    }
    return report_texts.row(framework, model, **(of_probe | changes))


def words(rows: list[dict[str, object]]) -> dict[tuple[str, str], str]:
    return {(one.impl.framework, one.probe): one.word for one in collect_outcomes(typed(rows))}


def shown(rows: list[dict[str, object]]) -> str:
    screen = Console(width=150, file=io.StringIO())
    with screen.capture() as capture:
        screen.print(render_grids(build_grids(collect_outcomes(typed(rows)))))
    return capture.get()


ROWS = [
    row("torch"),
    row("tensorflow", notes=["no TF32", "composed: Lrn of shifted sums"]),
    row("neon", status="unsupported", reason="neon has no Lrn", gradient_error=None),
    row("theano", status="disagreed", reason="bias is off", gradient_error=0.5),
    row("torch", "probe-gru", notes=["composed: Lrn of shifted sums"]),
]


def test_an_outcome_is_agreed_composed_or_a_status() -> None:
    assert words(ROWS) == {
        ("torch", "probe-lrn"): "agreed",
        ("tensorflow", "probe-lrn"): "composed",
        ("neon", "probe-lrn"): "unsupported",
        ("theano", "probe-lrn"): "disagreed",
        ("torch", "probe-gru"): "agreed",  # the composed operation is not the probed one
    }


def test_the_evidence_is_the_reason_or_the_note_with_error_and_command() -> None:
    text = shown(ROWS)
    assert (
        "] tensorflow graph, probe-lrn: composed: Lrn of shifted sums, gradient error 3e-07" in text
    )
    assert "] neon plain, probe-lrn: unsupported: neon has no Lrn\n" in " ".join(
        line.rstrip() + "\n" for line in text.splitlines()
    )
    assert "] theano plain, probe-lrn: disagreed: bias is off, gradient error 5e-01" in text
    assert re.search(r"rerun: \S*velodrome measure neon probe-lrn\n", text)


def test_models_other_than_probes_are_left_out() -> None:
    assert collect_outcomes(typed([row("torch", "lenet")])) == ()


def test_a_probe_that_failed_in_any_repeat_or_thread_count_has_failed() -> None:
    again = row("torch", repeat=1, status="crashed", reason="SIGSEGV")
    assert words([row("torch"), row("torch", threads=2, status="timed_out")])[
        ("torch", "probe-lrn")
    ] == ("timed_out")
    assert words([row("torch", task_id="1"), again | {"task_id": "1"}]) == {
        ("torch", "probe-lrn"): "crashed"
    }


NO = {"gradient_error": None, "expected": "unsupported", "unexpected": False}


def test_a_variant_that_differs_from_the_default_is_noted() -> None:
    compiled = row("torch", variant="compile", status="unsupported", reason="no graph", **NO)
    text = shown([row("torch", variant="channels_last"), compiled, row("torch")])
    assert "agreed, partly [1]" in text
    assert "[1] torch compile, probe-lrn: unsupported: no graph" in text
    (grid,) = build_grids(collect_outcomes(typed([compiled, row("torch")])))
    assert grid.places[("probe-lrn", "torch")].default.impl.variant == "eager"


def test_frameworks_are_counted_and_probes_that_did_not_run_are_named() -> None:
    text = render_markdown_grids(build_grids(collect_outcomes(typed(ROWS))))
    header, _, *lines = [line for line in text.splitlines() if line.startswith("|")]
    names = [name for name in FRAMEWORKS if name in ("torch", "tensorflow", "theano", "neon")]
    assert header == f"| probe | {' | '.join(names)} |"
    cells = {line.split("|")[1].strip(): line.split("|")[2:-1] for line in lines}
    gru, counts, errors = (
        dict(zip(names, map(str.strip, cells[name]), strict=True))
        for name in ("probe-gru", "own + composed, of", "largest gradient error")
    )
    assert gru == dict.fromkeys(names, "not in this sweep") | {"torch": "agreed"}
    assert counts == {
        "torch": "2 + 0 of 2",
        "tensorflow": "0 + 1 of 1",
        "theano": "0 + 0 of 1",
        "neon": "0 + 0 of 1",
    }
    assert errors == {"torch": "3e-07", "tensorflow": "3e-07", "theano": "none", "neon": "none"}


def test_each_device_has_its_own_table() -> None:
    assert (
        len(
            build_grids(
                collect_outcomes(typed([row("torch"), row("torch", device="gpu", gpu_name="G")]))
            )
        )
        == 2
    )


def test_an_unexpected_result_is_marked() -> None:
    assert "unsupported ! [1]" in shown([row("neon", status="unsupported", unexpected=True)])


def test_flat_rows_are_one_per_probe_and_variant_with_the_command() -> None:
    lines = build_flat_rows(collect_outcomes(typed(ROWS)))
    assert [line["outcome"] for line in lines].count("agreed") == 2
    assert all(line["rerun"] for line in lines)
    assert {*lines[0]} == {
        *("probe", "framework", "variant", "device", "outcome", "evidence"),
        *("gradient_error", "unexpected", "rerun"),
    }


def test_outcomes_follow_the_order_of_the_probes() -> None:
    found: tuple[ProbeOutcome, ...] = collect_outcomes(
        typed([row("torch", "probe-gru"), row("torch", "probe-lrn")])
    )
    assert [one.probe for one in found] == ["probe-lrn", "probe-gru"]


def test_each_precision_has_a_grid_of_its_own() -> None:
    lacks = {"dtype": "float16", "status": "unsupported", "reason": "no Lrn in float16"}
    found = build_grids(collect_outcomes(typed([row("torch"), row("torch", **lacks)])))
    assert [(grid.device, grid.count_outcomes("torch")) for grid in found] == [
        ("cpu", (1, 0, 1)),
        ("cpu float16", (0, 0, 1)),
    ]
