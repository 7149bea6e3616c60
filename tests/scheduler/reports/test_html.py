"""`velodrome report --html`: what stands in the page, without a browser."""

import base64
import hashlib
import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import vl_convert
from made_measurements import VERIFIED, make_measurement, make_times
from made_rows import typed

from velodrome.adapters.protocol import Checked, Figure
from velodrome.agents.measurement import Measurement, Reading, Status
from velodrome.agents.node import Core, Node
from velodrome.scheduler.commands.report_page import write_page
from velodrome.scheduler.errors import ConfigError
from velodrome.scheduler.plans.expected_outcomes import ExpectedOutcome
from velodrome.scheduler.reports.html.document import render_document
from velodrome.scheduler.reports.html.page import MOST_CELLS, build_page
from velodrome.scheduler.reports.html.published import NOT_GIVEN, NOT_IN_STUDY, load_published
from velodrome.scheduler.reports.html.templating import embed_json
from velodrome.scheduler.results.sql import run_query
from velodrome.scheduler.results.store import Store
from velodrome.scheduler.results.typed_rows import task_rows

SWEEP = "20261124-063012-a1b2"
VOID = ("meta", "br", "input", "line", "path")
EVIL = (
    "</script><img src=x onerror=alert(1)><svg onload=alert(2)>\"'><a href=javascript:alert(3)>"
    "{{ 7 * 7 }} ${8*8} \u202e\x1b]0;owned\x07 `=1+1 <!--"
)


@dataclass
class Element:
    """What of a page's tree the tests look at."""

    tag: str
    attributes: dict[str, str]
    children: list["Element"] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return " ".join([*self.texts, *(child.text for child in self.children)]).strip()

    def all(self, tag: str = "", **wanted: str) -> Iterator["Element"]:
        for child in self.children:
            of_class = set(wanted.get("of", "").split()) <= set(
                child.attributes.get("class", "").split()
            )
            if (not tag or child.tag == tag) and of_class:
                yield child
            yield from child.all(tag, **wanted)

    def by_id(self, name: str) -> "Element":
        return next(one for one in self.all() if one.attributes.get("id") == name)


class Tree(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.path = [Element("", {})]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.path[-1].children.append(element)
        if tag not in VOID:
            self.path.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.path[-1].children.append(Element(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.path.pop().tag == tag

    def handle_data(self, data: str) -> None:
        self.path[-1].texts.append(data)


def parsed(text: str) -> Element:
    tree = Tree()
    tree.feed(text)
    assert len(tree.path) == 1, "an element is not closed"
    return tree.path[0]


def measured(framework: str, variant: str, model: str, **changes: object) -> Measurement:
    """Make a measurement on a CPU, with a time unless changed."""
    plain = make_measurement(
        framework=framework,
        variant=variant,
        model=model,
        hostname="bay-01",
        started_at=1.79e9,
        finished_at=1.79e9 + 40,
        rerun=f"velodrome measure {framework} {model}",
        framework_version="2.13.0",
        cpu_model="Some CPU",
        **make_times(1, 3),
        verified=VERIFIED,
        gradient_error=1e-6,
        loss_error=1e-7,
        readings=tuple(
            Reading(at * 10**8, phase, 95.0, 10**8, 3)
            for at, phase in enumerate(("import", "build", "forward", "forward", "gradient"))
        ),
        peak_rss_bytes=3 * 2**20 * 100,
        kernels=(f"openblas 0.3.13 {'BARCELONA' if framework == 'theano' else 'SKYLAKEX'}",),
        interference_free=True,
    )
    return replace(plain, **changes)


def failed(framework: str, model: str, status: Status, reason: str, log: str = "") -> Measurement:
    one = measured(framework, "plain", model, status=status, reason=reason, log_tail=log)
    return replace(one, forward=None, gradient=None, verified=None, readings=())


def changed(one: Measurement, **of_task: object) -> Measurement:
    return replace(one, task=replace(one.task, **of_task))


def measurements() -> Iterator[tuple[Measurement, ExpectedOutcome | None]]:
    lacks = ExpectedOutcome(("unsupported",), "neon has no LSTM")
    for framework, variant in (("torch", "eager"), ("torch", "compile"), ("theano", "corrmm")):
        for size in (16, 64):
            yield changed(measured(framework, variant, "lenet"), batch_size=size), None
        yield changed(measured(framework, variant, "lenet"), threads=2), None
        for stage in ("ae1", "ae2", "ae3", "finetune"):
            yield measured(framework, variant, f"autoencoder-400-200-100/{stage}"), None
    yield failed("neon", "lstm", Status.UNSUPPORTED, "no lengths of its own"), lacks
    yield failed("neon", "lenet", Status.CRASHED, "killed by SIGSEGV", "first\nlast line"), None
    on_gpu = replace(
        measured("theano", "corrmm", "lenet", gpu_name="Some GPU"),
        energy_per_gradient_j=2.5,
        energy_source="measured",
        peak_gpu_memory_bytes=2**30,
    )
    yield changed(on_gpu, device="gpu"), None
    nowhere = failed("torch", "lenet", Status.UNPLACEABLE, "needs 2 GPUs, no node has them")
    nowhere = replace(nowhere, node_id="", hostname="", node_type="", cpu_model="")
    yield changed(nowhere, device="gpu", gpu_count=2, threads=4), None


def kept(store: Store) -> None:
    with store.hold_sweep(SWEEP):
        store.put_nodes(SWEEP, [Node("n1", "bay-01", "Some CPU", (Core(0, (0,)),), 2**34)])
        for one, expected in measurements():
            store.put(SWEEP, one, *([expected] if expected else []))
        store.compact(SWEEP)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page") / "results"
    kept(Store(folder))
    return folder


@pytest.fixture(scope="module")
def text(results: Path) -> str:
    file = results.parent / "report.html"
    write_page(results, "", file)
    return file.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def tree(text: str) -> Element:
    return parsed(text)


def test_every_part_of_a_report_is_there(tree: Element) -> None:
    headings = {one.text for one in tree.all("h2")}
    assert headings == {
        "Summary",
        "Framework by model",
        "Missing times and unexpected results",
        "The study's tables",
        "Figures",
        "Hardware and environments",
        "Fairness: differences in settings",
        "Terms",
    }
    ids = {one.attributes["id"] for one in tree.all("section") if "id" in one.attributes}
    assert ids >= {"distance", "batch-sizes", "threads", "traces", "roofline", "energy"}
    assert "bay-01" in tree.by_id("hardware").text


def test_no_place_of_any_table_is_blank(tree: Element) -> None:
    places = [one for table in tree.all("table") for one in table.all("td")]
    assert len(places) > 100
    assert [one for one in places if not one.text and "stick" not in one.attributes["class"]] == []


def test_a_place_of_the_grid_shows_time_interval_proof_and_distance(tree: Element) -> None:
    shown = " ".join(next(tree.by_id("grid-1").all("button")).text.split())
    assert shown == "1.00 ms ✓ 1 process best"


def test_the_kernels_that_ran_stand_behind_a_time_and_those_of_few_are_marked(
    tree: Element,
) -> None:
    for told, core in (("torch eager: lenet", "SKYLAKEX"), ("theano corrmm: lenet", "BARCELONA")):
        card = next(one for one in tree.all(of="card") if told in one.text)
        assert f"BLAS kernels openblas 0.3.13 {core}" in " ".join(card.text.split())
    lines = {line.text.split()[0]: line for line in tree.by_id("fairness").all("tr")}
    (marked,) = [one for one in lines["theano"].all("td", of="unlike") if "openblas" in one.text]
    assert marked.text == "≠ openblas 0.3.13 BARCELONA"


def test_what_has_no_time_shows_its_reason_with_the_evidence_behind_it(tree: Element) -> None:
    (crashed,) = [one for one in tree.by_id("grid").all("button") if one.text.startswith("crashed")]
    assert "killed by SIGSEGV" in crashed.text
    behind = tree.by_id(crashed.attributes["popovertarget"]).text
    for told in ("neon plain: lenet", "velodrome measure neon lenet", "last line"):
        assert told in behind
    told = tree.by_id("reasons").text
    assert told.index("crashed") < told.index("no lengths of its own")  # surprises first
    assert "Expected: unsupported: neon has no LSTM" in told


def test_behind_a_place_stand_the_checks_of_what_was_timed(
    store: Store, root: Path, tmp_path: Path
) -> None:
    late = "the device was not done"
    kept = (
        Checked("drained", "forward", "passed", (Figure("excess_ns", 12_000.0),), "", 7),
        Checked("twice_the_work", "gradient", "cannot_tell", (), EVIL, 8),
    )
    failing = (kept[0]._replace(outcome="failed", reason=late),)
    reason = f"drained of forward failed: {late}"
    store.put(SWEEP, measured("torch", "eager", "lenet", checks=kept))
    store.put(
        SWEEP,
        measured(*("jax", "jit", "lenet"), status=Status.DISAGREED, reason=reason, checks=failing),
    )
    tree = page_of(root, tmp_path)
    tables = {
        next(card.all("h3")).text: next(card.all("details", of="checks"))
        for card in tree.all(of="card")
        if any(card.all("details", of="checks"))
    }
    lines = [
        [one.text for one in line.all() if one.tag in ("th", "td")]
        for line in tables["torch eager: lenet, batch 64"].all("tr")
    ]
    assert lines[0] == ["check", "phase", "outcome", "figures", "reason"]
    assert lines[1] == ["drained", "forward", "passed", "excess 12.0 µs", "-"]
    assert lines[2][:4] == ["twice the work", "gradient", "inconclusive", "-"]
    assert "onerror=alert(1)" in lines[2][4]
    assert not list(tree.all("img"))
    disagreed = tables["jax jit: lenet, batch 64"].text
    assert "failed" in disagreed and late in disagreed
    assert "A check was inconclusive in 1 of 1 cell with a time: twice the work (1)." in [
        one.text for one in tree.by_id("summary").all("li")
    ]


def test_every_place_of_a_grid_has_what_stands_behind_it(tree: Element) -> None:
    ids = {one.attributes["id"] for one in tree.all(of="card")}
    asked_for = {one.attributes["popovertarget"] for one in tree.by_id("grid").all("button")}
    assert asked_for <= ids


def test_the_summary_tells_what_is_missing_and_what_was_not_expected(tree: Element) -> None:
    told = tree.by_id("summary").text
    assert "have a time; in each of them the loss and all gradients agree" in told
    assert "2 cells ended unexpectedly" in told
    assert "needs 2 GPUs, no node has them" in told


def test_nothing_is_loaded_from_elsewhere(tree: Element, text: str) -> None:
    loading = {
        "src",
        "srcset",
        "action",
        "data",
        "poster",
        "background",
        "formaction",
        "xlink:href",
    }
    for one in tree.all():
        assert not loading & set(one.attributes)
        assert one.attributes.get("href", "#").startswith("#")
        assert one.tag not in ("link", "iframe", "object", "embed", "base", "img", "form")
        assert not [name for name in one.attributes if name.startswith("on") or name == "style"]
    (style,) = [one.text for one in tree.all("style")]
    assert not re.search(r"url\(|@import|expression\(", style)


def test_the_policy_allows_what_is_in_the_page_and_no_more(text: str) -> None:
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', text)
    rules = dict(rule.strip().split(" ", 1) for rule in policy.replace("&#39;", "'").split(";"))
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    styles = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    assert rules["default-src"] == "'none'"
    assert rules["script-src"].split() == [hashed(script) for script in scripts]
    assert rules["style-src"].split() == [hashed(style) for style in styles]
    assert "unsafe" not in policy
    assert text.index("Content-Security-Policy") < text.index("<style>")


def hashed(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def specs(tree: Element) -> dict[str, dict[str, object]]:
    found: dict[str, dict[str, object]] = json.loads(tree.by_id("specs").text)
    return found


def test_every_figure_is_drawn_and_told_as_a_table(tree: Element) -> None:
    found = specs(tree)
    kinds = {name.rsplit("-", 1)[0] for name in found}
    assert kinds == {
        "figure",
        "figure-batch",
        "figure-threads",
        "figure-trace",
        "figure-roof",
        "figure-energy",
    }
    places = {one.attributes["data-figure"] for one in tree.all(of="chart")}
    assert places == set(found)
    for name in ("figure-distance", "figure-trace-0", "figure-batch-0"):
        assert "<path" in vl_convert.vegalite_to_svg(found[name], allowed_base_urls=[])
    assert all(list(one.all("table")) for one in tree.all("figure"))


def test_a_figure_that_cannot_be_says_why(store: Store, root: Path, tmp_path: Path) -> None:
    store.put(SWEEP, measured("torch", "eager", "lenet", readings=()))
    tree = page_of(root, tmp_path)
    assert "No energy per gradient is known" in tree.by_id("energy").text
    assert "two thread counts" in tree.by_id("threads").text


def test_each_table_names_a_query_that_gives_its_rows(tree: Element, results: Path) -> None:
    commands = [next(one.all("pre")).text for one in tree.all("details", of="query")]
    assert len(commands) > 10
    store = Store.for_reading(results)
    rows = {}
    for command in set(commands):
        name, verb, sql, option, folder = shlex.split(command)
        assert (name, verb, option, folder) == ("velodrome", "query", "--results", str(results))
        rows[sql] = run_query(store, sql).num_rows
    assert min(rows.values()) > 0
    cells = sum(1 for one in tree.all("div", of="card") if one.attributes["id"].startswith("cell-"))
    assert cells in rows.values()


def page_of(root: Path, tmp_path: Path) -> Element:
    write_page(root, "", tmp_path / "page.html")
    return parsed((tmp_path / "page.html").read_text(encoding="utf-8"))


def test_a_sweep_that_has_not_ended_says_how_many_runs_are_missing(results: Path) -> None:
    rows = task_rows(Store.for_reading(results).read("tasks"))
    shown = build_page(SWEEP, "results", "0.1.0", rows, [], lambda picked: [], len(rows) + 3)
    told = [one.text for one in shown.summary if one.is_warning]
    assert f"The sweep is incomplete: 3 runs of {len(rows) + 3} missing." in told


# --- what the study published --------------------------------------------------------------------


def test_the_studys_figures_stand_beside_ours_only_where_it_is_the_same_cell(tree: Element) -> None:
    table = next(tree.by_id("study").all("table"))
    ours = [one for one in table.all("tr") if one.text.startswith("theano")]
    assert "1.6 ms" in ours[0].text
    assert "Theano 0.8.2" in ours[0].text
    with_study = [card.text for card in tree.all(of="card") if "study's" in card.text]
    assert len(with_study) == 2  # ours on a GPU
    for told in with_study:
        assert ", gpu" in told
        assert "Theano 0.8.2" in told or "not PyTorch" in told
        assert "one Tesla M40, cuDNN v4; other definition" in told


def test_what_the_study_did_not_give_is_said_and_not_made_up() -> None:
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


# --- hostile words, and times that cannot be -----------------------------------------------------


def test_hostile_words_become_text_and_neither_element_nor_script(
    store: Store, root: Path, tmp_path: Path, tree: Element
) -> None:
    where = {"hostname": EVIL, "node_type": EVIL, "cpu_model": EVIL, "gpu_name": EVIL}
    with store.hold_sweep(SWEEP):
        store.put_nodes(SWEEP, [Node("n1", EVIL, EVIL, (Core(0, (0,)),), 2**34, kernel=EVIL)])
        for number, size in enumerate((8, 16, 64)):
            one = measured(EVIL, EVIL, "lenet", notes=(EVIL,), framework_version=EVIL, **where)
            store.put(SWEEP, changed(one, batch_size=size, threads=1 + number % 2))
        for size in (8, 16):
            odd = changed(measured("torch", EVIL, "lenet", **where), device=EVIL, dtype=EVIL)
            store.put(SWEEP, changed(odd, batch_size=size))
        other = measured(
            "torch", "eager", "lenet", interference=EVIL, interference_free=False, **where
        )
        store.put(SWEEP, other)
        bad = failed(EVIL, EVIL, Status.CRASHED, EVIL, log=f"{EVIL}\n{EVIL}")
        store.put(SWEEP, replace(bad, rerun=f"velodrome measure x; rm -rf ~ {EVIL}", **where))
    evil = page_of(root, tmp_path)
    assert {one.tag for one in evil.all()} <= {one.tag for one in tree.all()}
    assert sum(1 for _ in evil.all("script")) == sum(1 for _ in tree.all("script"))
    for one in evil.all():
        assert not [name for name in one.attributes if name.startswith("on")]
        assert one.attributes.get("href", "#").startswith("#")
    shown = evil.text
    assert "{{ 7 * 7 }}" in shown
    assert "49" not in evil.by_id("summary").text
    assert "rm -rf" not in shown
    assert not set("\u202e\x1b\x07") & set(shown)
    assert "onerror" in json.dumps(specs(evil))


def test_no_value_ends_the_script_that_it_stands_in() -> None:
    value = {"a": EVIL + "\u2028\u2029]]>", EVIL: [1.5, None]}
    assert not set("<>&\u2028\u2029") & set(embed_json(value))
    assert json.loads(embed_json(value)) == value


@pytest.mark.parametrize("median_ns", [0.0, -1.0, float("nan"), float("inf")])
def test_a_time_that_cannot_be_costs_no_page(
    store: Store, root: Path, tmp_path: Path, median_ns: float
) -> None:
    for size in (8, 16):
        store.put(SWEEP, changed(measured("torch", "eager", "lenet"), batch_size=size))
    for file in (root / "tasks").rglob("*.parquet"):
        table = pq.read_table(file)
        for name in ("forward_median_ns", "gradient_median_ns"):
            column = table.schema.get_field_index(name)
            table = table.set_column(column, name, pa.array([median_ns]))
        pq.write_table(table, file)
    assert "lenet" in page_of(root, tmp_path).by_id("grid").text


def test_a_place_that_cannot_be_written_to_is_told(results: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be written.*another file with --html"):
        write_page(results, "", tmp_path / "none" / "report.html")


# --- large sweeps --------------------------------------------------------------------------------


def test_a_large_sweep_gives_an_overview_of_all_and_grids_as_far_as_there_is_room(
    results: Path,
) -> None:
    rows = Store.for_reading(results).read("tasks").to_pylist()
    many = typed(
        {**row, "task_id": f"{row['task_id']}-{number}", "node_type": f"t{number}"}
        for number in range(4 * MOST_CELLS // len(rows))
        for row in rows
    )
    shown = build_page(SWEEP, "results", "0.1.0", many, [], lambda picked: [])
    assert sum(grid.cells for grid in shown.grids) <= MOST_CELLS
    assert len(shown.omitted) + shown.more_omitted > 10
    assert sum(one.cells for _, places in shown.overview.lines for one in places if one) == len(
        many
    )
    assert len(render_document(shown)) < 10 * 2**20
