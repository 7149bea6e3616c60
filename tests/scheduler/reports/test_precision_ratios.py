"""A sweep in several precisions: a table each, and a table of their ratios."""

from made_rows import typed
from report_texts import draw_tables, failed_row, row, six_rows

from velodrome.scheduler.reports.cells import collect_cells
from velodrome.scheduler.reports.precision_ratios import (
    LEGEND,
    PrecisionTable,
    build_tables,
    compare_precisions,
)
from velodrome.scheduler.reports.render import render_markdown


def half(one: dict[str, object], factor: float = 1.0) -> dict[str, object]:
    """Copy a row in bfloat16, with other times."""
    times = {name: float(str(one[name])) * factor for name in one if name.endswith("_ns")}
    return one | times | {"dtype": "bfloat16", "task_id": f"{one['task_id']} in bfloat16"}


def half_failed(framework: str) -> dict[str, object]:
    return failed_row(framework, dtype="bfloat16", task_id="failed in bfloat16")


def compared(rows: list[dict[str, object]]) -> tuple[PrecisionTable, ...]:
    return compare_precisions(collect_cells(typed(rows)))


def texts(rows: list[dict[str, object]]) -> list[tuple[str, str, list[str]]]:
    return [
        (line.phase, line.dtype, [one.text if one else "-" for one in line.ratios])
        for table in compared(rows)
        for line in table.lines
    ]


def test_tables_follow_in_the_order_of_the_precisions_with_their_ratios_last() -> None:
    rows = [row(dtype=name, task_id=name) for name in ("tf32", "float16", "float32", "bfloat16")]
    titles = [table.title for table in build_tables(collect_cells(typed(rows)))]
    assert titles == [
        *(
            f"Some CPU, cpu, 1 thread, {dtype}"
            for dtype in ("float32", "tf32", "bfloat16", "float16")
        ),
        "Some CPU, cpu, 1 thread: time relative to float32",
    ]


def test_a_ratio_is_of_the_same_framework_model_and_phase() -> None:
    rows = [row("torch"), row("jax")]
    rows += [half(row("torch"), 0.5), half(row("jax"), 2.0)]
    assert texts(rows) == [
        ("forward", "bfloat16", ["0.50x", "2.00x"]),
        ("gradient", "bfloat16", ["0.50x", "2.00x"]),
    ]


def test_overlapping_intervals_are_marked() -> None:
    faster = [half(one, 0.5) for one in six_rows("jax")]
    alike = [half(one) for one in six_rows("torch")]
    found = compared([*six_rows("torch"), *six_rows("jax"), *alike, *faster])
    assert [one.text for one in found[0].lines[0].ratios if one] == ["1.00x ≈", "0.50x"]
    assert [one.is_clear for one in found[0].lines[0].ratios if one] == [False, True]


def test_a_cell_without_a_time_in_one_precision_has_no_ratio() -> None:
    rows = [row("torch"), row("jax"), half_failed("torch"), half(row("jax"))]
    assert texts(rows)[0] == ("forward", "bfloat16", ["1.00x"])
    rows += [row("torch", "lstm"), half(row("torch", "lstm"))]
    found = texts(rows)
    assert found[0] == ("forward", "bfloat16", ["-", "1.00x"])
    assert found[2] == ("forward", "bfloat16", ["1.00x", "-"])


def test_nothing_is_compared_without_two_precisions_on_one_device() -> None:
    assert compared([row("torch"), half(row("jax"))]) == ()
    assert compared([row("torch"), half(row("torch", threads=2))]) == ()
    assert compared([half(row("torch"))]) == ()
    assert compared([row("torch"), half_failed("torch")]) == ()


def test_terminal_and_markdown_show_the_ratios_with_their_legend() -> None:
    rows = [row("torch"), half(row("torch"), 0.5)]
    tables = build_tables(collect_cells(typed(rows)))
    for shown in (draw_tables(tables), render_markdown(tables)):
        text = " ".join(shown.split())  # a title wraps at the width of its table
        assert "time relative to float32" in text
        assert "gradient, bfloat16" in text
        assert "0.50x" in text
        assert LEGEND[:40] in text
