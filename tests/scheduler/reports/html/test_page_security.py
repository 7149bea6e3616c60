"""Hostile words in results, and all that a page could load or run."""

import base64
import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path

from html_pages import (
    EVIL,
    SWEEP,
    Element,
    change_task,
    make_cell,
    make_failed_cell,
    read_specs,
    write_page_of,
)

from velodrome.agents.measurement import Status
from velodrome.agents.node import Core, Node
from velodrome.scheduler.reports.html.templating import embed_json
from velodrome.scheduler.results.store import Store


def test_the_page_loads_nothing(tree: Element, text: str) -> None:
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


def test_the_content_security_policy_allows_only_the_pages_own_content(text: str) -> None:
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', text)
    rules = dict(rule.strip().split(" ", 1) for rule in policy.replace("&#39;", "'").split(";"))
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    styles = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    assert rules["default-src"] == "'none'"
    assert rules["script-src"].split() == [hash_source(script) for script in scripts]
    assert rules["style-src"].split() == [hash_source(style) for style in styles]
    assert "unsafe" not in policy
    assert text.index("Content-Security-Policy") < text.index("<style>")


def hash_source(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def test_hostile_words_become_text_and_neither_element_nor_script(
    store: Store, root: Path, tmp_path: Path, tree: Element
) -> None:
    where = {"hostname": EVIL, "node_type": EVIL, "cpu_model": EVIL, "gpu_name": EVIL}
    with store.hold_sweep(SWEEP):
        store.put_nodes(SWEEP, [Node("n1", EVIL, EVIL, (Core(0, (0,)),), 2**34, kernel=EVIL)])
        for number, size in enumerate((8, 16, 64)):
            one = make_cell(EVIL, EVIL, "lenet", notes=(EVIL,), framework_version=EVIL, **where)
            store.put(SWEEP, change_task(one, batch_size=size, threads=1 + number % 2))
        for size in (8, 16):
            odd = change_task(make_cell("torch", EVIL, "lenet", **where), device=EVIL, dtype=EVIL)
            store.put(SWEEP, change_task(odd, batch_size=size))
        other = make_cell(
            "torch", "eager", "lenet", interference=EVIL, interference_free=False, **where
        )
        store.put(SWEEP, other)
        bad = make_failed_cell(EVIL, EVIL, Status.CRASHED, EVIL, log=f"{EVIL}\n{EVIL}")
        store.put(SWEEP, replace(bad, rerun=f"velodrome measure x; rm -rf ~ {EVIL}", **where))
    evil = write_page_of(root, tmp_path)
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
    assert "onerror" in json.dumps(read_specs(evil))


def test_no_value_ends_its_script() -> None:
    value = {"a": EVIL + "\u2028\u2029]]>", EVIL: [1.5, None]}
    assert not set("<>&\u2028\u2029") & set(embed_json(value))
    assert json.loads(embed_json(value)) == value
