"""A page as one HTML file: nothing is loaded from elsewhere, and nothing runs but what is ours.

What rows say is text: Jinja escapes it, and within JSON no character is left that could end a
script. A policy in the file itself allows the three scripts and the one style that are in it, each
by its hash, and no request at all; Vega's expressions are interpreted, not compiled.
"""

import base64
import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import vl_convert
from markupsafe import Markup

from velodrome.scheduler.reports.html.page import Page
from velodrome.scheduler.reports.html.templating import embedded, templates

TEMPLATES = Path(__file__).with_name("templates")
BUNDLE = "window.vegaEmbed = vegaEmbed;"


def document(page: Page) -> str:
    """ASCII and UTF-8 alike; a line end at its end."""
    style, charts = _part("style.css"), _part("page.js")
    bundle = _bundle() if any(section.figures for section in page.sections) else ""
    specs = {figure.id: figure.spec for section in page.sections for figure in section.figures}
    return (
        templates(TEMPLATES)
        .get_template("page.html.jinja")
        .render(
            page=page,
            policy=_policy([script for script in (bundle, charts) if script], style),
            style=Markup(style),
            bundle=Markup(bundle),
            charts=Markup(charts),
            specs=Markup(embedded(specs)),
        )
        + "\n"
    )


@cache
def _part(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


@cache
def _bundle() -> str:
    """Vega, Vega-Lite and Vega-Embed, as they come with vl-convert; nothing in it ends a script."""
    return vl_convert.javascript_bundle(BUNDLE).replace("</script", "<\\/script")


def _policy(scripts: Iterable[str], style: str) -> str:
    runs = " ".join(map(_hash, scripts))
    return (
        f"default-src 'none'; script-src {runs}; style-src {_hash(style)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
