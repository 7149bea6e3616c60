"""Rendering of a page as one HTML file that loads nothing and runs only its own scripts.

Text of rows stays text: Jinja escapes it, and JSON contains no character that could end a script. A
content security policy in the file allows its three scripts and one style sheet by hash, and no
request; Vega's expressions are interpreted, not compiled.
"""

import base64
import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import vl_convert
from markupsafe import Markup

from velodrome.scheduler.reports.html.page import Page
from velodrome.scheduler.reports.html.templating import embed_json, load_templates

TEMPLATES = Path(__file__).with_name("templates")
BUNDLE = "window.vegaEmbed = vegaEmbed;"


def render_document(page: Page) -> str:
    """Render the page, ending with a newline."""
    style, charts = _read_part("style.css"), _read_part("page.js")
    bundle = _bundle() if any(section.figures for section in page.sections) else ""
    specs = {figure.id: figure.spec for section in page.sections for figure in section.figures}
    return (
        load_templates(TEMPLATES)
        .get_template("page.html.jinja")
        .render(
            page=page,
            policy=_build_policy([script for script in (bundle, charts) if script], style),
            style=Markup(style),
            bundle=Markup(bundle),
            charts=Markup(charts),
            specs=Markup(embed_json(specs)),
        )
        + "\n"
    )


@cache
def _read_part(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


@cache
def _bundle() -> str:
    """Return Vega, Vega-Lite and Vega-Embed from vl-convert, with script ends escaped."""
    return vl_convert.javascript_bundle(BUNDLE).replace("</script", "<\\/script")


def _build_policy(scripts: Iterable[str], style: str) -> str:
    runs = " ".join(map(_hash, scripts))
    return (
        f"default-src 'none'; script-src {runs}; style-src {_hash(style)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
